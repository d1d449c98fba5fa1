import { LocalFault } from '@capstan/protocol';
import type { ScopeBody } from '@capstan/localmesh';

/** What `--mesh`, `--instance` and `--tenant` name. */
export interface ScopeOptions {
  mesh?: true;
  instance?: string;
  tenant?: string;
  reason?: string;
}

/** @throws LocalFault `usage` where not exactly one scope is named */
export function scopeOf({ mesh, instance, tenant, reason }: ScopeOptions): ScopeBody {
  const named = [mesh, instance, tenant].filter((each) => each !== undefined);
  if (named.length !== 1) throw new LocalFault('usage', 'Name one scope: --mesh, --instance NAME or --tenant ID.');
  const why = reason === undefined ? {} : { reason };
  if (instance !== undefined) return { scope: 'instance', instance, ...why };
  return tenant === undefined ? { scope: 'mesh', ...why } : { scope: 'tenant', tenant, ...why };
}

/** The option that names a scope. */
export function optionOf({ scope, instance, tenant }: ScopeBody): string {
  if (scope === 'mesh') return '--mesh';
  return scope === 'instance' ? `--instance ${instance ?? ''}` : `--tenant ${tenant ?? ''}`;
}
