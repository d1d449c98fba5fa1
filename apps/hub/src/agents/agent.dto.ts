import { ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, IsString, Matches, Max, MaxLength, Min } from 'class-validator';
import { MOST_WAIT_MS } from '../commands/wait.dto.js';

const ID = /^[a-z0-9-]{1,63}$/;

export class KillAgentDto {
  @ApiPropertyOptional({ description: 'For the record; shown to people' })
  @IsOptional()
  @IsString()
  @MaxLength(500)
  @Matches(/^[^\0\p{Surrogate}]*$/u, { message: 'reason holds characters that are no text' })
  reason?: string;

  @ApiPropertyOptional({ description: 'Needed only for an agent that the hub has never heard of' })
  @IsOptional()
  @Matches(ID, { message: 'instance must match [a-z0-9-]{1,63}' })
  instance?: string;

  @ApiPropertyOptional({ minimum: 0, maximum: MOST_WAIT_MS, default: 10_000 })
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(MOST_WAIT_MS)
  waitMs?: number;
}

export class LogsQuery {
  @ApiPropertyOptional({ default: '0', description: 'Sequence of the last line already seen' })
  @IsOptional()
  @Matches(/^\d{1,19}$/, { message: 'after must be a number of a line' })
  after?: string;

  @ApiPropertyOptional({ minimum: 1, maximum: 5000, default: 500 })
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(5_000)
  limit?: number;
}
