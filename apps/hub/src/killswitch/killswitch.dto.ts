import { RequestFault } from '@capstan/platform';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsInt, IsOptional, IsString, Matches, Max, MaxLength, Min } from 'class-validator';
import { MOST_WAIT_MS } from '../commands/wait.dto.js';
import { type ScopeName, type ScopeOrder, SCOPES } from './kill-scope.js';

const ID = /^[a-z0-9-]{1,63}$/;
export const WAIT_MS = 10_000;

/** A scope to be stopped, or to be re-armed. */
export class ScopeDto {
  @ApiProperty({ enum: SCOPES })
  @IsIn(SCOPES)
  scope!: ScopeName;

  @ApiPropertyOptional({ description: 'With scope instance: which' })
  @IsOptional()
  @Matches(ID, { message: 'instance must match [a-z0-9-]{1,63}' })
  instance?: string;

  @ApiPropertyOptional({ description: 'With scope tenant: which' })
  @IsOptional()
  @Matches(ID, { message: 'tenant must match [a-z0-9-]{1,63}' })
  tenant?: string;

  @ApiPropertyOptional({ description: 'For the record; shown to people' })
  @IsOptional()
  @IsString()
  @MaxLength(500)
  @Matches(/^[^\0\p{Surrogate}]*$/u, { message: 'reason holds characters that are no text' })
  reason?: string;

  @ApiPropertyOptional({ minimum: 0, maximum: MOST_WAIT_MS, default: WAIT_MS })
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(MOST_WAIT_MS)
  waitMs?: number;
}

/** @throws RequestFault where the scope is not named, or more is named than the scope */
export function scopeOrderOf({ scope, instance, tenant, reason = '' }: ScopeDto): ScopeOrder & { reason: string } {
  const wanted = { instance: scope === 'instance', tenant: scope === 'tenant' };
  const faults = [
    ...(wanted.instance === (instance !== undefined)
      ? []
      : [{ field: 'instance', message: word(wanted.instance, scope) }]),
    ...(wanted.tenant === (tenant !== undefined) ? [] : [{ field: 'tenant', message: word(wanted.tenant, scope) }]),
  ];
  if (faults.length > 0) throw new RequestFault(faults);
  return { scope, scopeId: tenant ?? '', reason, ...(instance === undefined ? {} : { instance }) };
}

function word(isWanted: boolean, scope: ScopeName): string {
  return isWanted ? `must be named with scope ${scope}` : `has no place with scope ${scope}`;
}
