import { ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, Matches, Max, Min } from 'class-validator';

export const MOST_AGENTS = 500;

export class AgentPageQuery {
  @ApiPropertyOptional({ description: '`next` of the page before' })
  @IsOptional()
  @Matches(/^[a-z0-9-]{1,63}$/, { message: 'after must be the `next` of a page' })
  after?: string;

  @ApiPropertyOptional({ minimum: 1, maximum: MOST_AGENTS, default: 100 })
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MOST_AGENTS)
  limit?: number;
}
