import { allowsRepository, WireFault } from '@capstan/protocol';
import type { DemandableLimit, OwnerPolicy } from './owner-policy.js';

/** What the policy judges of a spawn; numbers may be 0 or absent for "the instance's default". */
export interface SpawnRequestFacts {
  runtime: string;
  repository: string;
  tenant: string;
  /**
   * Agents that are queued, spawning or running now, without this one; left out by our spoke and orchestrator, which let
   * the surplus wait in the queue.
   */
  active?: number;
  budgetMicroUsd?: number | bigint;
  timeoutMs?: number | bigint;
  sandbox?: string;
}

/** The limits under which an allowed spawn runs. */
export interface SpawnLimits {
  budgetMicroUsd: number;
  timeoutMs: number;
  sandbox: string;
  /** What its sandbox must really enforce; absent where the owner demands nothing. */
  demandLimits?: readonly DemandableLimit[];
}

/**
 * The owner's word on a spawn. Order: runtime, repository, tenant, sandbox, budget, timeout, concurrency.
 *
 * @returns the limits that hold, defaults filled in.
 * @throws WireFault policy-runtime, policy-repository, policy-tenant, policy-sandbox, policy-budget, policy-timeout,
 * policy-concurrency
 */
export function checkPolicy(policy: OwnerPolicy, spawn: SpawnRequestFacts): SpawnLimits {
  const owner = policy.spawn;
  if (!owner.runtimes.includes(spawn.runtime)) throw new WireFault('policy-runtime');
  if (!owner.repositories.some((rule) => allowsRepository(rule, spawn.repository)))
    throw new WireFault('policy-repository');
  if (!owner.tenants.includes(spawn.tenant)) throw new WireFault('policy-tenant');
  const sandbox = spawn.sandbox === undefined || spawn.sandbox === '' ? owner.sandboxes[0] : spawn.sandbox;
  if (sandbox === undefined || !owner.sandboxes.includes(sandbox)) throw new WireFault('policy-sandbox');
  const budgetMicroUsd = within(spawn.budgetMicroUsd, owner.budgetMicroUsd, 'policy-budget');
  const timeoutMs = within(spawn.timeoutMs, owner.timeoutMs, 'policy-timeout');
  if ((spawn.active ?? 0) >= owner.concurrency) throw new WireFault('policy-concurrency');
  const { demandLimits } = owner;
  return { budgetMicroUsd, timeoutMs, sandbox, ...(demandLimits === undefined ? {} : { demandLimits }) };
}

function within(asked: number | bigint | undefined, most: number, code: 'policy-budget' | 'policy-timeout'): number {
  const wanted = Number(asked ?? 0);
  if (wanted === 0) return most;
  if (!(wanted > 0 && wanted <= most)) throw new WireFault(code);
  return wanted;
}
