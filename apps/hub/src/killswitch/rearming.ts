import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { newId, WireFault } from '@capstan/protocol';
import { TokenStore } from '../auth/token.store.js';
import { type Answer, Answers } from '../commands/answers.js';
import { CommandDesk } from '../commands/command-desk.js';
import { HubConfig } from '../hub.config.js';
import { KillEpochs, type OrderedEpoch } from './kill-epochs.js';
import { killScope, type ScopeOrder } from './kill-scope.js';
import { orderedScope } from './ordered-scope.js';

/** An order that waits longer is given anew: nobody means it any more. */
const LIFETIME_MS = 24 * 60 * 60 * 1000;

/** What became of the re-arming of one instance. */
export interface RearmLine {
  instance: string;
  /** Whether its reaper lets agents start again in the scope. */
  rearmed: boolean;
  /** Null where no order could be given. */
  commandId: string | null;
  /** Why not; absent while it has not answered. */
  code?: string;
}

/** Lets spawns into a scope again: by another person than the one who stopped it, unless the hub is told otherwise. */
@Injectable()
export class Rearming implements OnApplicationBootstrap {
  constructor(
    private readonly epochs: KillEpochs,
    private readonly desk: CommandDesk,
    private readonly answers: Answers,
    private readonly tokens: TokenStore,
    private readonly config: HubConfig,
  ) {}

  onApplicationBootstrap(): void {
    this.answers.onAny((answer) => {
      if (answer.record.kind === 'agent.rearm') this.hear(answer);
    });
  }

  /**
   * Each instance counts as re-armed once its reaper has said so.
   *
   * @throws WireFault `not-found` where nothing is disarmed, `rearm-same-person`
   */
  async rearm(order: ScopeOrder & { reason: string }, by: string, waitMs: number): Promise<RearmLine[]> {
    const rows = this.epochs.disarmed(order);
    if (rows.length === 0) throw new WireFault('not-found', 'nothing is disarmed in this scope');
    const isSamePerson = rows.some(({ orderedBy }) => this.tokens.areOfOnePerson(orderedBy, by));
    if (isSamePerson && this.config.killswitch.rearm === 'another') throw new WireFault('rearm-same-person', by);
    const { scope, scopeId, reason } = order;
    const subject = order.instance ?? (scopeId === '' ? scope : scopeId);
    const audit = [
      { kind: 'killswitch.rearm-ordered', subject, atMs: Date.now(), detail: { scope, scopeId, by, reason } },
    ];
    // The order itself holds from here on; each instance's own row until its reaper has answered.
    await this.epochs.set(
      rows.filter(({ instance }) => instance === '').map((row) => armed(row, by)),
      audit,
    );
    const own = rows.filter(({ instance }) => instance !== '');
    return Promise.all(own.map((row) => this.one(row, reason, by, waitMs)));
  }

  private async one(row: OrderedEpoch, reason: string, by: string, waitMs: number): Promise<RearmLine> {
    const { instance, scope, scopeId, epoch } = row;
    const value = { scope: killScope(scope), scopeId, epoch, reason };
    const tenant = scope === 'tenant' ? scopeId : 'default';
    const id = newId();
    using listener = this.answers.listen(id);
    try {
      const order = { id, instance, agentId: '', tenant, onBehalfOf: by, lifetimeMs: LIFETIME_MS };
      await this.desk.issue({ ...order, body: { case: 'rearm', value } });
    } catch (error) {
      if (!(error instanceof WireFault)) throw error;
      return { instance, rearmed: false, commandId: null, code: error.code };
    }
    const answer = await listener.next(waitMs);
    const code = answer?.record.refusal?.code;
    const rearmed = answer?.receipt?.kind === 'rearmed';
    return { instance, rearmed, commandId: id, ...(code === undefined ? {} : { code }) };
  }

  private hear({ record, receipt, isElsewhere }: Answer): void {
    if (isElsewhere === true || receipt?.receipt.result.case !== 'rearmed') return;
    const ordered = orderedScope(record.envelope);
    const row = ordered === undefined ? undefined : this.epochs.of(record.instance, ordered.scope);
    // Another kill-all may have stopped it again since.
    if (ordered === undefined || row === undefined || row.armed || row.epoch !== ordered.epoch) return;
    const { by } = ordered;
    const detail = { scope: row.scope, scopeId: row.scopeId, by, epoch: String(row.epoch) };
    const audit = [{ kind: 'killswitch.rearmed', subject: record.instance, atMs: Date.now(), detail }];
    void this.epochs.set([armed(row, by)], audit);
  }
}

/** Its date says which disarming it answers, also where clocks differ: the record tells when that was. */
function armed(row: OrderedEpoch, by: string): OrderedEpoch {
  return { ...row, armed: true, orderedBy: by, changedAt: new Date(row.changedAt.getTime() + 1) };
}
