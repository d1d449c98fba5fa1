import { ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, Max, Min } from 'class-validator';

/** How long a request may wait for news; proxies cut what is longer. */
export const MOST_WAIT_MS = 30_000;

export class WaitQuery {
  @ApiPropertyOptional({ minimum: 0, maximum: MOST_WAIT_MS })
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(MOST_WAIT_MS)
  waitMs?: number;
}
