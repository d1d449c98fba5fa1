import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { createLogger } from '@capstan/platform';
import { type FaultCode, newId, WireFault } from '@capstan/protocol';
import { type Answer, type AnswerListener, Answers } from '../commands/answers.js';
import { CommandBook } from '../commands/command.book.js';
import { CommandDesk } from '../commands/command-desk.js';
import type { CommandRecord } from '../commands/command-record.js';
import { DroppedCommands } from '../commands/dropped-commands.js';
import { OTHERS_MS } from '../commands/outbox.js';
import { ConnectionMoves } from '../connections/connection-moves.js';
import { isLive, mayLink } from '../connections/connection-state.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { KILL_RECORD_MS } from '../database/record-writer.js';
import { Leases } from '../leases/leases.js';
import { ForeignRefusals } from './foreign-refusals.js';
import { isConfirmed, isMiscounted, isSettled, type KillAllLine, lineOf } from './kill-all-line.js';
import { type EpochWrite, KillEpochs, type OrderedEpoch } from './kill-epochs.js';
import { killScope, type Scope, scopeKey, type ScopeOrder } from './kill-scope.js';
import { orderedScope } from './ordered-scope.js';
import { Stopping } from './stopping.js';
import { WithdrawnSpawns } from './withdrawn-spawns.js';

/** An instance may be away that long and gets it first thing on its return; no receiver looks at a kill's expiry. */
const LIFETIME_MS = 30 * 24 * 60 * 60 * 1000;
/** So often a number that the reaper has refused is corrected with each heartbeat; then ever more rarely. */
const QUICK_ATTEMPTS = 5;
const LONGEST_PAUSE_MS = 10 * 60 * 1000;

/** A kill-all at one instance: the command, and what it follows from. */
interface Issued {
  instance: string;
  scope: Scope;
  by: string;
  reason: string;
  commandId: string;
  attempt: number;
  /** Once its number was refused: not corrected before, milliseconds. */
  dueMs: number;
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
  private readonly issued = new Map<string, Issued>();
  /** Disarmed a moment ago, and told as soon as that is on disk. */
  private readonly starting = new Set<OrderedEpoch>();
  private readonly others = new ForeignRefusals();
  /** By instance: what it was to be told, and since when that is known here, milliseconds. */
  private readonly untoldSince = new Map<string, ReadonlyMap<string, number>>();

  constructor(
    private readonly moves: ConnectionMoves,
    private readonly connections: ConnectionStore,
    private readonly links: LinkRegistry,
    private readonly desk: CommandDesk,
    private readonly book: CommandBook,
    private readonly answers: Answers,
    private readonly epochs: KillEpochs,
    private readonly stopping: Stopping,
    private readonly spawns: WithdrawnSpawns,
    private readonly leases: Leases,
    private readonly dropped: DroppedCommands,
  ) {}

  onApplicationBootstrap(): void {
    for (const record of this.book.allOpen()) if (record.kind === 'agent.kill-all') this.adopt(record);
    this.answers.onAny((answer) => {
      if (answer.record.kind === 'agent.kill-all') this.hear(answer);
    });
    this.epochs.onHeard((instance) => {
      this.takeOver(instance);
      this.correct(instance);
    });
    this.moves.onMoved(({ instanceId, state }) => {
      if (!isLive(state)) this.epochs.forget(instanceId);
    });
    for (const row of this.epochs.untold()) this.tell(row.instance, row, row.orderedBy);
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
    for (const row of rows) this.starting.add(row);
    await this.disarm(order, rows, by);
    for (const row of rows) this.starting.delete(row);
    return rows.map((row) => this.start(row, order.reason, by, { beganAt, waitMs }));
  }

  /** For an instance that comes: what is stopped for it is stopped there too, before it is told anything else. */
  catchUp(instance: string): void {
    for (const row of this.epochs.disarmedFor(instance)) {
      if (!this.isTold(instance, row)) this.tell(instance, row, row.orderedBy);
    }
  }

  /** What it was told under an earlier enrolment ended with that one, and its reaper may be another. */
  private isTold(instance: string, scope: Scope): boolean {
    const own = this.epochs.of(instance, scope);
    return own?.armed === false && own.connection === this.connections.find(instance)?.id;
  }

  /** A hub that was killed after it had disarmed a scope and before it told the instance goes on where it was. */
  private tell(instance: string, { scope, scopeId }: Scope, by: string): void {
    const key = scopeKey(instance, { scope, scopeId });
    if ([...this.starting].some((row) => scopeKey(row.instance, row) === key)) return;
    try {
      const own = this.epochs.of(instance, { scope, scopeId });
      const isCutOff = own?.armed === false && own.connection === '';
      if (isCutOff && this.isOnItsWay(own)) return;
      const row = isCutOff ? own : this.row(instance, { scope, scopeId }, by);
      const detail = { scope, scopeId, instance, by };
      const audit = [{ kind: 'killswitch.caught-up', subject: instance, atMs: Date.now(), detail }];
      void this.epochs.set(isCutOff ? [] : [row], audit);
      this.issue(row, 'the scope is disarmed', by).listener[Symbol.dispose]();
    } catch (err) {
      // Others still have to be told.
      this.log.warn({ err, instance, scope, msg: 'a kill-all could not be told' });
    }
  }

  /** Orders anew, with the same number, what was signed with a key that is believed no longer. */
  renew(record: CommandRecord): void {
    const ordered = orderedScope(record.envelope);
    const row = ordered === undefined ? undefined : this.epochs.of(record.instance, ordered.scope);
    // What was armed again since is nobody's order any more.
    if (ordered === undefined || row === undefined || row.armed) return;
    const old = this.issued.get(record.id) ?? this.adopt(record);
    if (old === undefined) return;
    this.issueAgain({ ...row, epoch: ordered.epoch }, old, 'key-revoked', old.attempt);
  }

  /** The command may be here before the row says so: it comes over the bus, which does not wait for the database. */
  private isOnItsWay(row: OrderedEpoch): boolean {
    return this.book.openOf(row.instance).some(({ kind, envelope }) => {
      const ordered = kind === 'agent.kill-all' ? orderedScope(envelope) : undefined;
      return ordered?.epoch === row.epoch && scopeKey('', ordered.scope) === scopeKey('', row);
    });
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
    const told = this.epochs.of(instance, { scope, scopeId })?.connection ?? '';
    // The reaper of another enrolment may be a new one: only its own word counts.
    const isAnew = told !== '' && told !== this.connections.find(instance)?.id;
    const epoch = isAnew
      ? this.epochs.toldBy(instance, { scope, scopeId }) + 1n
      : this.epochs.next(instance, { scope, scopeId });
    return { instance, scope, scopeId, epoch, armed: false, orderedBy, connection: '', changedAt: new Date() };
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

  private issue(row: OrderedEpoch, reason: string, by: string, attempt = 1, servesFor?: string): Issued {
    const { instance, scope, scopeId, epoch } = row;
    const commandId = newId();
    const body = { case: 'killAll', value: { scope: killScope(scope), scopeId, epoch, reason } } as const;
    const tenant = scope === 'tenant' ? scopeId : 'default';
    const listener = this.answers.listen(commandId);
    if (servesFor !== undefined) this.answers.goesOn(servesFor, commandId);
    let recorded: Promise<void>;
    try {
      const order = { id: commandId, instance, agentId: '', tenant, onBehalfOf: by, lifetimeMs: LIFETIME_MS };
      const told = (): EpochWrite | undefined => this.epochs.markTold(row, this.connections.ofInstance(instance).id);
      recorded = this.desk.kill({ ...order, body }, told);
    } catch (error) {
      listener[Symbol.dispose]();
      throw error;
    }
    const issued = {
      instance,
      scope: { scope, scopeId },
      by,
      reason,
      commandId,
      attempt,
      dueMs: 0,
      listener,
      recorded,
    };
    this.issued.set(commandId, issued);
    this.stopping.begin(instance, commandId, row);
    return issued;
  }

  /** Resolves with the instance's line: settled, or what is known when the time is over. */
  private async follow(issued: Issued, { beganAt, waitMs }: { beganAt: number; waitMs: number }): Promise<KillAllLine> {
    const { instance, listener } = issued;
    const isAway = this.links.sessionOf(instance) === undefined;
    const leftMs = isAway ? 0 : beganAt + waitMs - performance.now();
    const answer =
      (await listener.next(leftMs, isSettled)) ??
      (await listener.next(0, ({ receipt }) => receipt?.kind === 'killed-all')) ??
      (await listener.next(0));
    listener[Symbol.dispose]();
    await issued.recorded;
    const ms = Math.round(performance.now() - beganAt);
    return lineOf({
      instance,
      commandId: answer?.record.id ?? issued.commandId,
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

  private hear(answer: Answer): void {
    const { record } = answer;
    this.stopping.heard(record);
    const issued = this.issued.get(record.id);
    if (issued === undefined) {
      this.hearForeign(answer);
      return;
    }
    if (record.settledAt !== null) this.issued.delete(record.id);
    else if (isMiscounted(answer)) this.miscounted(issued);
  }

  private hearForeign(answer: Answer): void {
    const { record } = answer;
    const scope = orderedScope(record.envelope)?.scope;
    if (scope === undefined) return;
    if (isConfirmed(answer)) this.others.settled(record.instance, scope);
    else if (isMiscounted(answer) && this.book.isForeign(record.id)) this.others.note(record, scope, performance.now());
  }

  /** What the replica that has ordered it neither tells nor corrects in time: it is gone. */
  private takeOver(instance: string): void {
    const nowMs = performance.now();
    for (const row of this.overdue(instance, nowMs)) this.tell(instance, row, row.orderedBy);
    for (const { record, attempt } of this.others.orphaned(instance, nowMs)) {
      if (!this.book.isForeign(record.id) || this.issued.has(record.id)) continue;
      const issued = this.adopt(record, attempt);
      if (issued !== undefined) this.miscounted(issued);
    }
  }

  private overdue(instance: string, nowMs: number): OrderedEpoch[] {
    const before = this.untoldSince.get(instance);
    const keyOf = (row: OrderedEpoch): string => `${scopeKey('', row)} ${String(row.epoch)}`;
    const rows = this.epochs.untold().filter((row) => row.instance === instance);
    if (rows.length === 0) this.untoldSince.delete(instance);
    else this.untoldSince.set(instance, new Map(rows.map((row) => [keyOf(row), before?.get(keyOf(row)) ?? nowMs])));
    return rows.filter((row) => nowMs - (before?.get(keyOf(row)) ?? nowMs) >= OTHERS_MS);
  }

  private miscounted(issued: Issued): void {
    const { instance, attempt } = issued;
    const waiting = this.refused.get(instance) ?? [];
    if (waiting.includes(issued)) return;
    const late = attempt - QUICK_ATTEMPTS;
    if (late >= 0) this.log.error({ instance, attempt, msg: 'the kill epochs of an instance cannot be found' });
    issued.dueMs = late < 0 ? 0 : performance.now() + Math.min(LONGEST_PAUSE_MS, 5_000 * 2 ** Math.min(late, 10));
    this.refused.set(instance, [...waiting, issued]);
  }

  /** A heartbeat has told the reaper's true numbers. */
  private correct(instance: string): void {
    const waiting = this.refused.get(instance);
    if (waiting === undefined) return;
    const nowMs = performance.now();
    this.refused.set(
      instance,
      waiting.filter(({ dueMs }) => dueMs > nowMs),
    );
    for (const old of waiting.filter(({ dueMs }) => dueMs <= nowMs)) {
      const row = this.epochs.of(instance, old.scope);
      if (row === undefined || !this.issued.has(old.commandId)) continue;
      if (row.armed) {
        this.rearmedSince(old);
        continue;
      }
      this.epochs.resync(instance, old.scope);
      const next = this.row(instance, old.scope, row.orderedBy);
      void this.epochs.set([next], []);
      this.issueAgain(next, old, 'kill-epoch', old.attempt + 1);
    }
  }

  /** The order is over, whatever its number was. One of another replica may be newer than the row that is known here. */
  private rearmedSince({ commandId }: Issued): void {
    const record = this.book.get(commandId);
    if (record !== undefined && !this.book.isForeign(commandId)) this.dropped.drop(record, 'kill-epoch');
  }

  /** The order goes on under another id; whoever waits for the old one hears of the new one. */
  private issueAgain(row: OrderedEpoch, old: Issued, code: FaultCode, attempt: number): void {
    const { instance, commandId, reason, by } = old;
    try {
      const issued = this.issue(row, reason, by, attempt, commandId);
      issued.listener[Symbol.dispose]();
      this.issued.delete(commandId);
      const record = this.book.get(commandId);
      if (record !== undefined) this.dropped.superseded(record, code, issued.commandId);
      this.stopping.end(instance, commandId);
    } catch (err) {
      this.log.warn({ err, instance, msg: 'a kill-all has lost its instance' });
    }
  }

  /** An order from before this hub was started, or of a replica that is gone. */
  private adopt(record: CommandRecord, attempt = 1): Issued | undefined {
    const { id, instance, envelope } = record;
    const ordered = orderedScope(envelope);
    if (ordered === undefined) return undefined;
    const { scope, by, reason, epoch } = ordered;
    const listener = this.answers.listen(id);
    listener[Symbol.dispose]();
    const recorded = Promise.resolve();
    const issued = { instance, scope, by, reason, commandId: id, attempt, dueMs: 0, listener, recorded };
    this.issued.set(id, issued);
    this.stopping.begin(instance, id, { ...scope, epoch });
    return issued;
  }
}
