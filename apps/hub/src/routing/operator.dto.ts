import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBase64, IsOptional, IsString, Length, Matches } from 'class-validator';

export class AddOperatorDto {
  @ApiProperty({ description: 'Begins with "op-", so that it can never be the name of an instance' })
  @Matches(/^op-[a-z0-9-]{1,60}$/, { message: 'id must match op-[a-z0-9-]{1,60}' })
  id!: string;

  @ApiPropertyOptional()
  @IsOptional()
  @IsString()
  @Length(1, 120)
  displayName?: string;

  @ApiProperty({ description: 'Raw Ed25519 public key, hex' })
  @Matches(/^[0-9a-f]{64}$/, { message: 'publicKey must be 32 bytes in hex' })
  publicKey!: string;

  @ApiProperty({ description: 'Base64 of the signature over label("capstan.v1.operator-key", hub id, id, public key)' })
  @IsBase64()
  signature!: string;
}

export class RoutedCommandDto {
  @ApiProperty({ description: 'Base64 of a serialized envelope with a command that an operator has signed' })
  @IsString()
  @IsBase64()
  envelope!: string;
}
