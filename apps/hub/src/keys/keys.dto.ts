import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsInt, IsOptional, IsString, Max, MaxLength, Min } from 'class-validator';
import { LIMITS } from '@capstan/protocol';

export class RotateKeyDto {
  @ApiPropertyOptional({
    description: 'Milliseconds that the old key is believed longer; a day unless told, a week at most',
  })
  @IsOptional()
  @IsInt()
  @Min(1_000)
  @Max(LIMITS.keyOverlapMs)
  overlapMs?: number;
}

export class KeyStatementDto {
  @ApiProperty({ description: 'The envelope of the KeyStatement, base64' })
  @IsString()
  @MaxLength(8_192)
  statement!: string;
}
