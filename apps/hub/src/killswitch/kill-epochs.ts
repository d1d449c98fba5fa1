import { Injectable, type OnModuleInit } from '@nestjs/common';
import { createLogger } from '@capstan/platform';
import { create, isId, type KillEpoch, KillEpochSchema } from '@capstan/protocol';
import type { AuditEntry } from '../audit/audit-chain.js';
import { DatabaseService } from '../database/database.service.js';
import type { NewKillEpoch } from '../database/record-change.js';
import { RecordWriter } from '../database/record-writer.js';
import { killEpochs } from '../database/schema.js';
import { HeartbeatContents } from '../link/heartbeat-contents.js';
import { isScopeName, type Scope, scopeKey, type ScopeOrder } from './kill-scope.js';

/** What is kept of one instance's word; more is no memory of ours but an attack on it. */
const MOST_TOLD = 512;
const MOST_EPOCH = 1n << 53n;
/** More kill-alls of one scope than come between two heartbeats. */
const MOST_STEP = 1_000n;

/** The kill epoch of a scope at one instance, as this hub has ordered it last. */
export interface OrderedEpoch extends Scope {
  /** Empty for the order itself, which holds for instances that come later too. */
  readonly instance: string;
  readonly epoch: bigint;
  readonly armed: boolean;
  /** Who killed, or re-armed. */
  readonly orderedBy: string;
  /** The enrolment under which the instance was told; empty while it was not, and for the order itself. */
  readonly connection: string;
  readonly changedAt: Date;
}

/** Rows that somebody else writes, in one change with what belongs to them. */
export interface EpochWrite {
  readonly rows: readonly NewKillEpoch[];
  /** To be called once they are written, or never will be. */
  readonly over: () => void;
}

/**
 * Which scopes are disarmed, and how far each instance's reaper has counted. In memory as well as on disk: a kill waits
 * for no database. Each reaper counts its own epochs; what it tells in heartbeats can only raise what is known, but for
 * the moment in which it has refused a number.
 */
@Injectable()
export class KillEpochs implements OnModuleInit {
  private readonly log = createLogger('hub.killswitch');
  private readonly rows = new Map<string, OrderedEpoch>();
  private readonly told = new Map<string, ReadonlyMap<string, bigint>>();
  private readonly heard: ((instance: string) => void)[] = [];
  /** How often a scope was ordered here, or such an order reached the database. */
  private readonly turns = new Map<string, number>();
  /** How many orders of a scope the database does not have yet. */
  private readonly unwritten = new Map<string, number>();
  /** Scopes whose rows were not taken up because of that. */
  private readonly passedOver = new Set<string>();

  constructor(
    private readonly database: DatabaseService,
    private readonly writer: RecordWriter,
    private readonly heartbeats: HeartbeatContents,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.reload();
    this.heartbeats.register((instance) => ({ killEpochs: this.wire(instance) }));
    this.heartbeats.onReceived((link, heartbeat) => {
      this.hear(link.peerId, heartbeat.killEpochs);
    });
  }

  /** Takes up what other replicas have committed. What was ordered here is on its way to the database, which then decides. */
  async reload(): Promise<void> {
    const before = new Map(this.turns);
    for (const row of await this.database.db.select().from(killEpochs)) {
      if (!isScopeName(row.scope)) continue;
      const key = scopeKey(row.instance, { scope: row.scope, scopeId: row.scopeId });
      if (this.unwritten.has(key) || this.turns.get(key) !== before.get(key)) this.passedOver.add(key);
      else this.keep({ ...row, scope: row.scope });
    }
    // Those that have been written since the look began.
    const missed = [...this.passedOver].filter((key) => !this.unwritten.has(key));
    for (const key of missed) this.passedOver.delete(key);
    if (missed.length > 0) await this.reload();
  }

  /** `listener` is called after each heartbeat of an instance. */
  onHeard(listener: (instance: string) => void): void {
    this.heard.push(listener);
  }

  /** What this hub has ordered of a scope at an instance. */
  of(instance: string, scope: Scope): OrderedEpoch | undefined {
    return this.rows.get(scopeKey(instance, scope));
  }

  /** What forbids an instance to start agents: the order to all, or its own where it stands alone; each scope once. */
  disarmedFor(instance: string): OrderedEpoch[] {
    const forAll = [...this.rows.values()].filter((row) => row.instance === '' && !row.armed);
    const isAlone = (row: OrderedEpoch): boolean =>
      row.instance === instance && !row.armed && this.of('', row)?.armed !== false;
    return [...forAll, ...[...this.rows.values()].filter(isAlone)];
  }

  /** Instances that were to be told, and were not. */
  untold(): OrderedEpoch[] {
    return [...this.rows.values()].filter((row) => row.instance !== '' && !row.armed && row.connection === '');
  }

  /** What must be re-armed for an order to hold: the order's own row, and each instance's. */
  disarmed({ scope, scopeId, instance }: ScopeOrder): OrderedEpoch[] {
    return [...this.rows.values()].filter(
      (row) =>
        !row.armed &&
        row.scope === scope &&
        row.scopeId === scopeId &&
        (instance === undefined || row.instance === instance),
    );
  }

  /** The scope that forbids a tenant's spawn at an instance; undefined where none does. */
  forbidding(instance: string, tenant: string): Scope | undefined {
    const scopes: Scope[] = [
      { scope: 'mesh', scopeId: '' },
      { scope: 'instance', scopeId: '' },
      { scope: 'tenant', scopeId: tenant },
    ];
    return scopes.find((scope) =>
      [this.of('', scope), this.of(instance, scope)].some((row) => row !== undefined && !row.armed),
    );
  }

  /** The number that the next kill-all of this scope must name. */
  next(instance: string, scope: Scope): bigint {
    const ordered = this.of(instance, scope)?.epoch ?? 0n;
    const told = this.toldBy(instance, scope);
    return (ordered > told ? ordered : told) + 1n;
  }

  /** How far the instance's reaper has counted, by its own word; 0 where it has not said. */
  toldBy(instance: string, scope: Scope): bigint {
    return this.told.get(instance)?.get(scopeKey('', scope)) ?? 0n;
  }

  /** The enrolment has ended, and the next one's reaper may be another. */
  forget(instance: string): void {
    this.told.delete(instance);
  }

  /** The reaper has refused our number: what it tells now holds, higher or lower. */
  resync(instance: string, scope: Scope): void {
    const row = this.of(instance, scope);
    if (row === undefined) return;
    this.keep({ ...row, epoch: this.toldBy(instance, scope) });
  }

  /** Makes rows known at once; resolves when they are on one disk with `audit`, in a second at most. Never rejects. */
  set(orders: readonly OrderedEpoch[], audit: readonly AuditEntry[]): Promise<void> {
    const { rows, over } = this.take(orders.map((row) => this.after(row)));
    const { recorded, committed } = this.writer.writeKill({ killEpochs: rows, audit });
    const written = committed.catch((err: unknown) => {
      this.log.error({ err, msg: 'kill epochs were not written' });
    });
    void written.then(over);
    return recorded;
  }

  /**
   * The instance of `row` is told of it, under that enrolment. Its date stays, by which a re-arming answers it. Undefined where
   * there is another order since.
   */
  markTold(row: OrderedEpoch, connection: string): EpochWrite | undefined {
    const known = this.of(row.instance, row);
    if (known === undefined || known.armed || known.epoch !== row.epoch) return undefined;
    return this.take([{ ...known, connection }]);
  }

  private take(rows: readonly OrderedEpoch[]): EpochWrite {
    for (const row of rows) {
      this.keep(row);
      this.count(row, 1);
    }
    const over = (): void => {
      this.written(rows);
    };
    return { rows: rows.map(stored), over };
  }

  private count(row: OrderedEpoch, orders: 1 | -1): string {
    const key = scopeKey(row.instance, row);
    this.turns.set(key, (this.turns.get(key) ?? 0) + 1);
    const open = (this.unwritten.get(key) ?? 0) + orders;
    if (open > 0) this.unwritten.set(key, open);
    else this.unwritten.delete(key);
    return key;
  }

  private written(rows: readonly OrderedEpoch[]): void {
    const again = rows.map((row) => this.count(row, -1)).filter((key) => this.passedOver.delete(key));
    if (again.length === 0) return;
    this.reload().catch((err: unknown) => {
      this.log.warn({ err, msg: 'kill epochs were not read again' });
    });
  }

  /** What another replica was told: no further than reapers count meanwhile. A jump is believed on the link itself only. */
  hearElsewhere(instance: string, epochs: readonly KillEpoch[]): void {
    const near = epochs.filter(({ scope, scopeId, epoch }) => {
      if (!isScopeName(scope)) return false;
      return epoch < this.next(instance, { scope, scopeId: scope === 'tenant' ? scopeId : '' }) + MOST_STEP;
    });
    this.hear(instance, near);
  }

  /** What an instance's reaper tells of its epochs, in a heartbeat to this replica or to another. */
  hear(instance: string, epochs: readonly KillEpoch[]): void {
    const told = new Map<string, bigint>();
    for (const { scope, scopeId, epoch } of epochs.slice(0, MOST_TOLD)) {
      if (!isScopeName(scope) || epoch > MOST_EPOCH || (scope === 'tenant' && !isId(scopeId))) continue;
      told.set(scopeKey('', { scope, scopeId: scope === 'tenant' ? scopeId : '' }), epoch);
    }
    this.told.set(instance, told);
    for (const listener of this.heard) listener(instance);
  }

  /** Later than what it replaces, also where the clock was set back in between: the newest holds, here and on disk. */
  private after(row: OrderedEpoch): OrderedEpoch {
    const last = this.of(row.instance, row)?.changedAt.getTime() ?? 0;
    return row.changedAt.getTime() > last ? row : { ...row, changedAt: new Date(last + 1) };
  }

  private keep(row: OrderedEpoch): void {
    this.rows.set(scopeKey(row.instance, row), row);
  }

  private wire(instance: string): KillEpoch[] {
    const own = [...this.rows.values()].filter((row) => row.instance === instance && instance !== '');
    return own
      .slice(0, MOST_TOLD)
      .map(({ scope, scopeId, epoch }) => create(KillEpochSchema, { scope, scopeId, epoch }));
  }
}

function stored(row: OrderedEpoch): NewKillEpoch {
  const { instance, scope, scopeId, epoch, armed, orderedBy, connection, changedAt } = row;
  return {
    instance,
    scope,
    scope_id: scopeId,
    epoch: epoch.toString(),
    armed,
    ordered_by: orderedBy,
    connection,
    changed_at: changedAt.toISOString(),
  };
}
