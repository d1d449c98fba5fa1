import type { TenantId } from '@capstan/protocol';

/** What one kill-all stops; the scope's id is empty but for a tenant. */
export interface Scope {
  scope: string;
  scopeId: string;
}

/** How often each scope was stopped; one that is missing never was. */
type KillEpochs = readonly (Scope & { epoch: bigint | string })[];

/** Whether the scope holds the agent; one that is being claimed is in no tenant yet: the reaper refuses it. */
export function isMeant({ scope, scopeId }: Scope, plan: { tenant: TenantId } | undefined): boolean {
  return scope !== 'tenant' || plan?.tenant === scopeId;
}

/** The kill epoch of the scope; 0 before its first kill-all. */
export function epochOf({ scope, scopeId }: Scope, epochs: KillEpochs): bigint {
  return BigInt(epochs.find((it) => it.scope === scope && it.scopeId === scopeId)?.epoch ?? 0n);
}

/** Whether a kill-all means the agent that has come since it was admitted, armed again or not. */
export function isStopped(plan: { tenant: TenantId; killEpochs: KillEpochs }, present: KillEpochs): boolean {
  return present.some((it) => isMeant(it, plan) && epochOf(it, plan.killEpochs) < BigInt(it.epoch));
}
