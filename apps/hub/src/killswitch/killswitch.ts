import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { createLogger } from '@capstan/platform';
import { newId, WireFault } from '@capstan/protocol';
import { type Answer, type AnswerListener, Answers } from '../commands/answers.js';
import { CommandBook } from '../commands/command.book.js';
import { CommandDesk } from '../commands/command-desk.js';
import type { CommandRecord } from '../commands/command-record.js';
import { mayLink } from '../connections/connection-state.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { KILL_RECORD_MS } from '../database/record-writer.js';
import { Leases } from '../leases/leases.js';
import { isSettled, type KillAllLine, lineOf } from './kill-all-line.js';
import { KillEpochs, type OrderedEpoch } from './kill-epochs.js';
import { killScope, type Scope, type ScopeOrder } from './kill-scope.js';
import { orderedScope } from './ordered-scope.js';
import { Stopping } from './stopping.js';
import { WithdrawnSpawns } from './withdrawn-spawns.js';

/** An instance may be away that long and gets it first thing on its return; no receiver looks at a kill's expiry. */
const LIFETIME_MS = 30 * 24 * 60 * 60 * 1000;
/** How often a number that the reaper has refused is corrected. */
const MOST_ATTEMPTS = 5;

/** A kill-all at one instance: the command, and what it follows from. */
interface Issued {
  instance: string;
  scope: Scope;
  by: string;
  reason: string;
  commandId: string;
  attempt: number;
  listener: AnswerListener;
  /** Resolves once the order is on one disk, in a second at most. */
  recorded: Promise<void>;
}

export interface KillAllOrder extends ScopeOrder {
  reason: string;
}

/**
 * Kills every agent of a scope: disarms it first, in memory and, while the database is there, on disk; then tells every
 * instance at once. Whatever has become of the request, each order is pursued until it is confirmed.
 */
@Injectable()
export class Killswitch implements OnApplicationBootstrap {
  private readonly log = createLogger('hub.killswitch');
  /** Orders whose number was refused, by instance: they wait for the next heartbeat. */
  private readonly refused = new Map<string, Issued[]>();
  /** Where an order goes on under another id. */
  private readonly successors = new Map<string, PromiseWithResolvers<Issued | undefined>>();
  private readonly issued = new Map<string, Issued>();

  constructor(
    private readonly connections: ConnectionStore,
    private readonly links: LinkRegistry,
    private readonly desk: CommandDesk,
    private readonly book: CommandBook,
    private readonly answers: Answers,
    private readonly epochs: KillEpochs,
    private readonly stopping: Stopping,
    private readonly spawns: WithdrawnSpawns,
    private readonly leases: Leases,
  ) {}

  onApplicationBootstrap(): void {
    for (const record of this.book.allOpen()) if (record.kind === 'agent.kill-all') this.adopt(record);
    this.answers.onAny((answer) => {
      if (answer.record.kind === 'agent.kill-all') this.hear(answer);
    });
    this.epochs.onHeard((instance) => {
      this.correct(instance);
    });
  }

  /**
   * Orders the death of a scope. The lines come as the instances answer; those that are away have theirs at once. When
   * this resolves, the orders are sent.
   *
   * @throws WireFault `instance-unknown`, `connection-not-active`
   */
  async killAll(order: KillAllOrder, by: string, waitMs: number): Promise<Promise<KillAllLine>[]> {
    const instances = this.targets(order);
    const scope: Scope = { scope: order.scope, scopeId: order.scopeId };
    const beganAt = performance.now();
    const rows = instances.map((instance) => this.row(instance, scope, by));
    await this.disarm(order, rows, by);
    return rows.map((row) => this.start(row, order.reason, by, { beganAt, waitMs }));
  }

  /** For an instance that comes: what was stopped everywhere is stopped there too, before it is told anything else. */
  catchUp(instance: string): void {
    for (const { scope, scopeId, orderedBy } of this.epochs.disarmedForAll()) {
      const own = this.epochs.of(instance, { scope, scopeId });
      if (own?.armed === false) continue;
      const row = this.row(instance, { scope, scopeId }, orderedBy);
      const detail = { scope, scopeId, instance, by: orderedBy };
      void this.epochs.set([row], [{ kind: 'killswitch.caught-up', subject: instance, atMs: Date.now(), detail }]);
      this.issue(row, 'the scope is disarmed', orderedBy).listener[Symbol.dispose]();
    }
  }

  private targets({ scope, instance }: ScopeOrder): string[] {
    if (scope !== 'instance') {
      return this.connections
        .all()
        .filter(({ state }) => mayLink(state))
        .map(({ instanceId }) => instanceId);
    }
    const { state, instanceId } = this.connections.ofInstance(instance ?? '');
    if (!mayLink(state)) throw new WireFault('connection-not-active', `${instanceId} is ${state}`);
    return [instanceId];
  }

  /** Holds at once; waits a moment for the disk, and no longer. */
  private async disarm(order: KillAllOrder, own: readonly OrderedEpoch[], by: string): Promise<void> {
    const { scope, scopeId, reason } = order;
    // What is to hold for every instance holds for those that come later.
    const rows = scope === 'instance' ? own : [...own, this.row('', order, by)];
    const detail = { scope, scopeId, by, reason, instances: own.length };
    const subject = order.instance ?? (scopeId === '' ? scope : scopeId);
    const audit = [{ kind: 'killswitch.disarmed', subject, atMs: Date.now(), detail, lateAfterMs: KILL_RECORD_MS }];
    const recorded = this.epochs.set(rows, audit);
    this.spawns.withdraw(order);
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, KILL_RECORD_MS);
    await Promise.race([recorded, late.promise]);
    clearTimeout(timer);
  }

  private row(instance: string, { scope, scopeId }: Scope, orderedBy: string): OrderedEpoch {
    const epoch = this.epochs.next(instance, { scope, scopeId });
    return { instance, scope, scopeId, epoch, armed: false, orderedBy, changedAt: new Date() };
  }

  /** A connection that has just ended takes nothing down with it but its own line. */
  private start(
    row: OrderedEpoch,
    reason: string,
    by: string,
    time: { beganAt: number; waitMs: number },
  ): Promise<KillAllLine> {
    try {
      return this.follow(this.issue(row, reason, by), time);
    } catch (error) {
      if (!(error instanceof WireFault)) throw error;
      const { instance } = row;
      const leasesEndAt = this.leases.leasesEndAt(instance)?.toISOString() ?? null;
      const refused = { confirmed: false, reason: 'refused', code: error.code } as const;
      return Promise.resolve({ instance, commandId: null, ...refused, agents: [], leasesEndAt, ms: 0 });
    }
  }

  private issue(row: OrderedEpoch, reason: string, by: string, attempt = 1): Issued {
    const { instance, scope, scopeId, epoch } = row;
    const commandId = newId();
    const body = { case: 'killAll', value: { scope: killScope(scope), scopeId, epoch, reason } } as const;
    const tenant = scope === 'tenant' ? scopeId : 'default';
    const listener = this.answers.listen(commandId);
    let recorded: Promise<void>;
    try {
      const order = { id: commandId, instance, agentId: '', tenant, onBehalfOf: by, lifetimeMs: LIFETIME_MS };
      recorded = this.desk.kill({ ...order, body });
    } catch (error) {
      listener[Symbol.dispose]();
      throw error;
    }
    const issued = { instance, scope: { scope, scopeId }, by, reason, commandId, attempt, listener, recorded };
    this.issued.set(commandId, issued);
    this.stopping.begin(instance, commandId, row);
    return issued;
  }

  /** Resolves with the instance's line: settled, or what is known when the time is over. */
  private async follow(first: Issued, { beganAt, waitMs }: { beganAt: number; waitMs: number }): Promise<KillAllLine> {
    const { instance } = first;
    const isAway = this.links.sessionOf(instance) === undefined;
    let issued = first;
    let answer: Answer | undefined;
    for (;;) {
      const leftMs = isAway ? 0 : beganAt + waitMs - performance.now();
      answer = (await issued.listener.next(leftMs, isSettled)) ?? (await issued.listener.next(0));
      const next = answer?.record.refusal?.code === 'kill-epoch' ? await this.successor(issued, leftMs) : undefined;
      issued.listener[Symbol.dispose]();
      if (next === undefined) break;
      issued = next;
    }
    await issued.recorded;
    const ms = Math.round(performance.now() - beganAt);
    return lineOf({
      instance,
      commandId: issued.commandId,
      answer,
      isAway,
      leasesEndAt: this.endAt(issued, isAway),
      ms,
    });
  }

  /** Only what the hub does not renew ends: of one tenant among others, nothing while the instance is here. */
  private endAt({ instance, scope }: Issued, isAway: boolean): Date | null {
    return scope.scope === 'tenant' && !isAway ? null : this.leases.leasesEndAt(instance);
  }

  private hear({ record, receipt }: Answer): void {
    if (receipt !== undefined || record.refusal !== null) this.stopping.heard(record);
    const issued = this.issued.get(record.id);
    if (issued === undefined || record.settledAt === null) return;
    this.issued.delete(record.id);
    if (record.refusal?.code !== 'kill-epoch') return;
    if (issued.attempt >= MOST_ATTEMPTS) {
      this.log.error({ instance: record.instance, msg: 'the kill epochs of an instance cannot be found' });
      return;
    }
    this.stopping.begin(record.instance, record.id, issued.scope);
    this.refused.set(record.instance, [...(this.refused.get(record.instance) ?? []), issued]);
  }

  /** A heartbeat has told the reaper's true numbers. */
  private correct(instance: string): void {
    const waiting = this.refused.get(instance);
    if (waiting === undefined) return;
    this.refused.delete(instance);
    for (const old of waiting) {
      this.stopping.end(instance, old.commandId);
      const row = this.epochs.of(instance, old.scope);
      // Re-armed meanwhile: the order is over.
      if (row === undefined || row.armed) continue;
      this.epochs.resync(instance, old.scope);
      const next = this.row(instance, old.scope, row.orderedBy);
      void this.epochs.set([next], []);
      const issued = this.issueAgain(next, old);
      if (issued === undefined) continue;
      const successor = this.successors.get(old.commandId);
      if (successor === undefined) issued.listener[Symbol.dispose]();
      else successor.resolve(issued);
    }
  }

  private issueAgain(row: OrderedEpoch, { reason, by, attempt }: Issued): Issued | undefined {
    try {
      return this.issue(row, reason, by, attempt + 1);
    } catch (err) {
      this.log.warn({ err, instance: row.instance, msg: 'a kill-all has lost its instance' });
      return undefined;
    }
  }

  private async successor({ commandId }: Issued, leftMs: number): Promise<Issued | undefined> {
    if (leftMs <= 0) return undefined;
    const next = this.successors.get(commandId) ?? Promise.withResolvers<Issued | undefined>();
    this.successors.set(commandId, next);
    const timer = setTimeout(() => {
      next.resolve(undefined);
    }, leftMs);
    const found = await next.promise;
    clearTimeout(timer);
    this.successors.delete(commandId);
    return found;
  }

  /** An order from before this hub was started. */
  private adopt(record: CommandRecord): void {
    const { id, instance, envelope } = record;
    const ordered = orderedScope(envelope);
    if (ordered === undefined) return;
    const { scope, by, reason } = ordered;
    const listener = this.answers.listen(id);
    listener[Symbol.dispose]();
    this.issued.set(id, {
      instance,
      scope,
      by,
      reason,
      commandId: id,
      attempt: 1,
      listener,
      recorded: Promise.resolve(),
    });
    this.stopping.begin(instance, id, scope);
  }
}
