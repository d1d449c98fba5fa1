import { Injectable } from '@nestjs/common';
import { and, eq, inArray, isNull } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import { stripControl, WireFault } from '@capstan/protocol';
import type { AuditEntry } from '../audit/audit-chain.js';
import { RecordWriter } from '../database/record-writer.js';
import { connections, keys } from '../database/schema.js';
import { type Connection, makeConnection } from './connection.js';
import { type ConnectionState, isLive, isMover, type Mover } from './connection-state.js';
import { ConnectionStore } from './connection.store.js';
import { RevocationEpoch } from './revocation-epoch.js';
import { isSameStanding, type Standing, standingAfter } from './standing.js';

const LONGEST_REASON = 500;

/** A step of a connection, and who takes it. */
export interface Move {
  to: ConnectionState;
  mover: Mover;
  /** The person, or the instance whose owner it is. */
  by: string;
  reason?: string | undefined;
  /** When the owner signed his wish, by his clock. */
  wishedAt?: Date;
}

/** `isElsewhere`: another replica has moved it, and writes what follows from that. */
type Listener = (connection: Connection, from: ConnectionState, isElsewhere: boolean) => void;

/** What a move has written. */
interface Written {
  standing: Standing;
  revocationEpoch: bigint | undefined;
}

/** Moves connections through their states: on disk and audited before it holds, and then told to whom it concerns. */
@Injectable()
export class ConnectionMoves {
  private readonly listeners: Listener[] = [];

  constructor(
    private readonly store: ConnectionStore,
    private readonly writer: RecordWriter,
    private readonly revocations: RevocationEpoch,
  ) {}

  /** `listener` is called in the turn in which a connection has come into another state; it must not throw. */
  onMoved(listener: Listener): void {
    this.listeners.push(listener);
  }

  /**
   * Moves a connection. A move to where it is already, and a wish that is no newer than the last one, change nothing.
   *
   * @throws WireFault `not-found`, `connection-transition`; LocalFault `database-unavailable`
   */
  async move(id: string, move: Move): Promise<Connection> {
    const before = this.store.get(id);
    if (before === undefined) throw new WireFault('not-found', `connection ${id}`);
    if (isRepeated(before.wishedAt, move)) return before;
    this.check(before, move);
    const changedAt = new Date();
    const written = await this.writer.transaction(async (client) => this.write(client, before, move, changedAt));
    if (written === undefined) return this.store.get(id) ?? before;
    return this.keep(id, before, written, move, changedAt);
  }

  /** A connection as another replica has committed it: holds here from this turn on. */
  adopt(connection: Connection): void {
    const before = this.store.get(connection.id);
    this.store.keep(connection);
    if (before === undefined || before.state === connection.state) return;
    for (const listener of this.listeners) listener(connection, before.state, true);
  }

  /** What is refused in memory need not be asked of the database. */
  private check(before: Connection, move: Move): void {
    if (standingAfter(before, move.to, move.mover) === undefined) throw refusal(before, move);
    const current = this.store.find(before.instanceId);
    // Its keys may be those of the connection that has taken its place.
    if (current !== undefined && current.id !== before.id && isLive(current.state))
      throw new WireFault('connection-transition', `superseded by ${current.id}`);
  }

  private async write(
    client: pg.Client,
    before: Connection,
    move: Move,
    changedAt: Date,
  ): Promise<{ result: Written | undefined; audit: AuditEntry[] }> {
    const db = drizzle(client);
    const isIt = eq(connections.id, before.id);
    // Another hub on this database may have moved it.
    const [row] = await db.select().from(connections).where(isIt).for('update');
    if (row === undefined) throw new WireFault('not-found', `connection ${before.id}`);
    if (isRepeated(row.wishedAt, move)) return { result: undefined, audit: [] };
    const from = { state: row.state as ConnectionState, suspendedBy: row.suspendedBy.filter(isMover) };
    const standing = standingAfter(from, move.to, move.mover);
    if (standing === undefined) throw refusal(from, move);
    const { state, suspendedBy } = standing;
    const isChange = !isSameStanding(from, standing);
    const wishedAt = move.wishedAt === undefined ? {} : { wishedAt: move.wishedAt };
    if (isChange || move.wishedAt !== undefined) {
      const change = isChange ? { state, suspendedBy: [...suspendedBy], changedAt } : {};
      await db
        .update(connections)
        .set({ ...change, ...wishedAt })
        .where(isIt);
    }
    if (!isChange) return { result: { standing, revocationEpoch: undefined }, audit: [] };
    const isRevoked = state === 'REVOKED';
    if (isRevoked) await revokeKeys(client, before, changedAt);
    const revocationEpoch = isRevoked ? await this.revocations.raise(client) : undefined;
    const audit = [moved(before, from, standing, move, changedAt, revocationEpoch)];
    return { result: { standing, revocationEpoch }, audit };
  }

  private keep(id: string, before: Connection, written: Written, move: Move, changedAt: Date): Connection {
    const { standing, revocationEpoch } = written;
    const current = this.store.get(id) ?? before;
    const isChange = !isSameStanding(current, standing);
    const kept = makeConnection({
      ...current,
      ...standing,
      wishedAt: move.wishedAt ?? current.wishedAt,
      ...(isChange ? { changedAt } : {}),
      ...(standing.state === 'REVOKED' ? revokedKeys(current, changedAt.getTime()) : {}),
    });
    if (revocationEpoch !== undefined) this.revocations.committed(revocationEpoch);
    this.store.keep(kept);
    if (current.state !== kept.state) for (const listener of this.listeners) listener(kept, current.state, false);
    return kept;
  }
}

function refusal({ state, suspendedBy }: Standing, { to, mover }: Move): WireFault {
  const by = suspendedBy.length === 0 ? '' : ` by ${suspendedBy.join(' and ')}`;
  return new WireFault('connection-transition', `${state}${by}, to ${to} by ${mover}`);
}

function isRepeated(last: Date | null, { wishedAt }: Move): boolean {
  return wishedAt !== undefined && last !== null && wishedAt.getTime() <= last.getTime();
}

/** For ever: `pin` takes no key again that was revoked. */
async function revokeKeys(client: pg.Client, { keys: own }: Connection, revokedAt: Date): Promise<void> {
  const theirs = inArray(
    keys.keyId,
    own.records().map(({ keyId }) => keyId),
  );
  await drizzle(client)
    .update(keys)
    .set({ revokedAt })
    .where(and(theirs, isNull(keys.revokedAt)));
}

function revokedKeys({ identityKey, formerKeys, reaperKey }: Connection, revokedAt: number): Partial<Connection> {
  return {
    identityKey: { revokedAt, ...identityKey },
    formerKeys: formerKeys.map((key) => ({ revokedAt, ...key })),
    reaperKey: { revokedAt, ...reaperKey },
  };
}

function moved(
  { id, instanceId: instance }: Connection,
  from: Standing,
  { state, suspendedBy }: Standing,
  { mover, by, reason }: Move,
  changedAt: Date,
  revocationEpoch: bigint | undefined,
): AuditEntry {
  const why = reason === undefined ? {} : { reason: stripControl(reason).slice(0, LONGEST_REASON) };
  const detail = {
    instance,
    from: from.state,
    to: state,
    mover,
    by,
    ...(suspendedBy.length === 0 ? {} : { suspendedBy: suspendedBy.join(' ') }),
    ...(revocationEpoch === undefined ? {} : { revocationEpoch: String(revocationEpoch) }),
    ...why,
  };
  return { kind: 'connection.moved', subject: id, atMs: changedAt.getTime(), detail };
}
