import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, Max, Min } from 'class-validator';

const MOST = Number.MAX_SAFE_INTEGER;
export const MOST_ENTRIES = 1_000;

export class AuditQuery {
  @ApiPropertyOptional({ minimum: 0, default: 0, description: 'Sequence of the last entry already seen' })
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(MOST)
  after?: number;

  @ApiPropertyOptional({ minimum: 1, maximum: MOST_ENTRIES, default: 100 })
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MOST_ENTRIES)
  limit?: number;
}

export class InclusionQuery {
  @ApiProperty({ minimum: 1, description: 'Sequence of the entry' })
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MOST)
  sequence!: number;

  @ApiProperty({ minimum: 1, description: 'Entries of the tree in which it is to be proven' })
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(MOST)
  size!: number;
}

export class ConsistencyQuery {
  @ApiProperty({ minimum: 0, description: 'Entries of the earlier tree' })
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(MOST)
  from!: number;

  @ApiProperty({ minimum: 0, description: 'Entries of the later tree' })
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(MOST)
  to!: number;
}

export class CompactRangeQuery {
  @ApiProperty({ minimum: 0, description: 'Entries of the tree' })
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(MOST)
  size!: number;
}
