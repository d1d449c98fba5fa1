import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { TaskId, TenantId } from '@capstan/protocol';
import { KEYS } from '../valkey/keys.js';
import { HOLD, SETTLE } from './spend.scripts.js';

/** Budgets that agents share; millionths of a US dollar. Absent: none. */
export interface SharedLimits {
  /** Of all agents of one task together. */
  taskMicroUsd?: number;
  /** Of all agents of one tenant on one day, UTC. */
  tenantMicroUsdPerDay?: number;
}

/** For whom money is spent. */
export interface Spender {
  tenant: TenantId;
  taskId: TaskId;
}

/** A sum that is set aside while a request runs. */
export interface Hold {
  readonly amount: number;
  /** Replaces it by what was spent; once. Resolves when that is on disk. */
  settle(costMicroUsd: number): Promise<void>;
}

export type HoldAnswer = { kind: 'held'; hold: Hold } | { kind: 'spent'; scope: 'task' | 'tenant' };

const SCOPES = ['task', 'tenant'] as const;
/** A task that nobody has worked on for so long begins anew; the days of tenants are over long before. */
const KEPT_SECONDS = 400 * 86_400;

interface HoldRecord {
  amount: number;
  scopes: string[];
}

/** What tasks and tenants have spent: in Valkey, so that a restart forgets nothing. */
export class SpendLedger {
  constructor(
    private readonly client: Redis,
    private readonly now: () => number = Date.now,
  ) {}

  /** @param wanted whole millionths. @param least of use; below it nothing is held. */
  async hold(
    spender: Spender,
    { taskMicroUsd, tenantMicroUsdPerDay }: SharedLimits,
    wanted: number,
    least: number,
  ): Promise<HoldAnswer> {
    const scopes = this.keysOf(spender);
    const id = randomUUID();
    const limits = [taskMicroUsd ?? '', tenantMicroUsdPerDay ?? ''];
    const reply = await HOLD.run(
      this.client,
      [KEYS.spendHolds, ...scopes],
      [id, wanted, least, KEPT_SECONDS, ...limits],
    );
    const amount = Number(reply);
    const refusing = amount < 0 ? SCOPES[-amount - 1] : undefined;
    if (refusing !== undefined) return { kind: 'spent', scope: refusing };
    return { kind: 'held', hold: { amount, settle: (cost) => this.settle(id, { amount, scopes }, cost) } };
  }

  /** What was spent and not merely held. */
  async spent(spender: Spender): Promise<{ task: number; tenantToday: number }> {
    const [task, tenantToday] = await Promise.all(this.keysOf(spender).map((key) => this.client.hget(key, 'spent')));
    return { task: Number(task ?? 0), tenantToday: Number(tenantToday ?? 0) };
  }

  /**
   * Counts what a former process held as spent in full: nobody heard what those requests cost. To be called before the
   * first hold of this process.
   *
   * @returns how many there were.
   */
  async settleLeft(): Promise<number> {
    const left = Object.entries(await this.client.hgetall(KEYS.spendHolds));
    for (const [id, json] of left) {
      const record = JSON.parse(json) as HoldRecord;
      await this.settle(id, record, record.amount);
    }
    return left.length;
  }

  private async settle(id: string, { amount, scopes }: HoldRecord, cost: number): Promise<void> {
    await SETTLE.run(this.client, [KEYS.spendHolds, ...scopes], [id, cost, amount]);
  }

  private keysOf({ tenant, taskId }: Spender): string[] {
    const day = new Date(this.now()).toISOString().slice(0, 10);
    return [KEYS.spendOfTask(tenant, taskId), KEYS.spendOfTenant(tenant, day)];
  }
}
