import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional, IsString, MaxLength } from 'class-validator';

export class MoveConnectionDto {
  @ApiPropertyOptional({ description: 'For the record', maxLength: 500 })
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string;
}

export class ConnectionWishDto {
  @ApiProperty({ description: 'The envelope of the Event with the wish, signed by the instance, base64' })
  @IsString()
  @MaxLength(8_192)
  event!: string;
}
