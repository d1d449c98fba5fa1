import { IsOptional, IsString, MaxLength } from 'class-validator';

export class WishDto {
  /** For the record, here and at the hub. */
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string;
}
