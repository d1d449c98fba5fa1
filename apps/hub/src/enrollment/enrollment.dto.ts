import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsInt, IsOptional, IsString, Length, Matches, Max, MaxLength, Min } from 'class-validator';

/** The longest life of an invitation: 15 minutes (FED-02). */
export const MOST_TTL_SECONDS = 900;

export class CreateEnrollmentDto {
  @ApiPropertyOptional({ description: 'The instance is active as soon as it has enrolled, without another approval' })
  @IsOptional()
  @IsBoolean()
  autoApprove?: boolean;

  @ApiPropertyOptional({ maximum: MOST_TTL_SECONDS, default: MOST_TTL_SECONDS })
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MOST_TTL_SECONDS)
  ttlSeconds?: number;

  @ApiPropertyOptional({ description: 'What the instance will be called here, whatever it calls itself' })
  @IsOptional()
  @IsString()
  @Length(1, 120)
  displayName?: string;
}

export class RedeemEnrollmentDto {
  @ApiProperty({ description: 'The secret of the invitation, base64url' })
  @Matches(/^[A-Za-z0-9_-]{43}$/)
  secret!: string;

  @ApiProperty({ description: 'The envelope of the Enrollment that the spoke signed, base64' })
  @IsString()
  @MaxLength(32_768)
  enrollment!: string;
}
