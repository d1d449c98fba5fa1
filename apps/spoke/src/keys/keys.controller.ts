import { LIMITS } from '@capstan/protocol';
import { Body, Controller, Get, HttpCode, Post } from '@nestjs/common';
import { IsInt, IsOptional, Max, Min } from 'class-validator';
import { OwnKey, type OwnKeyView } from './own-key.js';

const OVERLAP_MS = 24 * 3_600_000;

export class RotateKeyDto {
  /** Milliseconds that the old key is believed longer. */
  @IsOptional()
  @IsInt()
  @Min(1_000)
  @Max(LIMITS.keyOverlapMs)
  overlapMs?: number;
}

/** The owner's word about the key of his instance. */
@Controller('key')
export class KeysController {
  constructor(private readonly key: OwnKey) {}

  @Get()
  view(): OwnKeyView {
    return this.key.view();
  }

  @Post('rotate')
  @HttpCode(200)
  rotate(@Body() body?: RotateKeyDto): Promise<OwnKeyView> {
    return this.key.rotate(body?.overlapMs ?? OVERLAP_MS);
  }
}
