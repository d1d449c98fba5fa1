import { Injectable } from '@nestjs/common';
import { eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { type LogConflict, PeerLog, type TreeProof, verifyTreeHead } from '@capstan/evidence';
import { createLogger, metrics } from '@capstan/platform';
import { decodeEnvelope, toBase64, toHex, WireFault } from '@capstan/protocol';
import { AuditConflicts } from '../connections/audit-conflicts.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { DatabaseService } from '../database/database.service.js';
import { RecordWriter } from '../database/record-writer.js';
import { treeHeads } from '../database/schema.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { KeptHeads, keptHeads, type KeptHead, newestHead } from './tree-head.rows.js';

/** However many an instance sends. */
const PAUSE_MS = 1_000;
const REFUSAL_PAUSE_MS = 60_000;

/** What the hub holds of one instance's log. */
interface InstanceLog {
  log: PeerLog;
  kept: KeptHeads;
  newest: KeptHead | undefined;
  isBusy: boolean;
  takenAtMs: number;
  refusedAtMs: number;
}

/**
 * The heads of the instances' audit logs: each is on disk before it counts, and each must extend the one before. A log
 * that contradicts what its instance has signed before is an alarm; it stops nothing, kills least of all.
 */
@Injectable()
export class InstanceLogs {
  private readonly log = createLogger('hub.audit');
  private readonly logs = new Map<string, InstanceLog>();

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly conflicts: AuditConflicts,
    private readonly database: DatabaseService,
    private readonly writer: RecordWriter,
  ) {}

  /** Entries of the newest head that is held; 0 where there is none, or it was not read yet. */
  heldSize(instanceId: string): number {
    return this.logs.get(instanceId)?.log.held?.size ?? 0;
  }

  /** The instance has a new link: what is held is read again, since another hub may have taken heads meanwhile. */
  async load(instanceId: string): Promise<void> {
    const newest = await newestHead(this.database.db, instanceId);
    const { createdAt } = this.connections.ofInstance(instanceId);
    const isOfEarlierEnrolment = newest !== undefined && newest.receivedAt < createdAt;
    if (isOfEarlierEnrolment) await this.forget(instanceId, newest, 'audit.log-begun', 'enrolment');
    this.begin(instanceId, isOfEarlierEnrolment ? undefined : newest);
  }

  /** Takes a head from an instance's heartbeat. Never throws: what is wrong with it is noted. */
  async take(instanceId: string, bytes: Uint8Array, proof: TreeProof | undefined): Promise<void> {
    const known = this.logs.get(instanceId);
    const nowMs = performance.now();
    if (known === undefined || known.isBusy || nowMs - known.takenAtMs < PAUSE_MS) return;
    Object.assign(known, { isBusy: true, takenAtMs: nowMs });
    try {
      await this.judge(instanceId, known, bytes, proof);
    } catch (error) {
      this.refuse(instanceId, known, error);
    } finally {
      known.isBusy = false;
    }
  }

  /** Every head that is kept of an instance's log. */
  heads(instanceId: string): Promise<KeptHead[]> {
    return keptHeads(this.database.db, instanceId);
  }

  /** The instance's log is taken anew as it is, say because its owner has put a damaged one away. Audited. */
  async accept(instanceId: string, by: string): Promise<void> {
    this.connections.ofInstance(instanceId);
    const newest = await newestHead(this.database.db, instanceId);
    await this.forget(instanceId, newest, 'audit.log-accepted', by);
    this.begin(instanceId, undefined);
    this.conflicts.clear(instanceId);
  }

  private begin(instanceId: string, newest: KeptHead | undefined): void {
    const before = this.logs.get(instanceId);
    // A head that was taken while this one was read is newer.
    if (before !== undefined && newest !== undefined && (before.log.held?.size ?? 0) >= newest.size) {
      before.takenAtMs = -Infinity;
      return;
    }
    const log = new PeerLog(newest);
    const kept = new KeptHeads(this.database.db, instanceId, newest);
    this.logs.set(instanceId, { log, kept, newest, isBusy: false, takenAtMs: -Infinity, refusedAtMs: -Infinity });
  }

  private async judge(
    instanceId: string,
    known: InstanceLog,
    bytes: Uint8Array,
    proof: TreeProof | undefined,
  ): Promise<void> {
    const { keys } = this.connections.ofInstance(instanceId);
    const head = verifyTreeHead(decodeEnvelope(bytes), { keys, owner: 'instance', audience: this.identity.hubId });
    const verdict = known.log.judge(head, proof, Date.now());
    if (verdict.is === 'conflict') {
      this.alarm(instanceId, verdict.conflict, verdict.isNews, bytes);
      return;
    }
    if (verdict.is !== 'newer') return;
    const kept = { size: head.size, root: head.root, envelope: bytes, receivedAt: new Date() };
    await known.kept.keep(kept);
    known.newest = kept;
    known.log.hold(head);
  }

  private alarm(instanceId: string, conflict: LogConflict, isNews: boolean, bytes: Uint8Array): void {
    metrics.countRefusal('tree-head');
    this.conflicts.set(instanceId, conflict);
    if (!isNews) return;
    const { kind, size, heldSize, atMs } = conflict;
    this.log.error({
      instance: instanceId,
      kind,
      size,
      heldSize,
      msg: 'the audit log of an instance contradicts itself',
    });
    // The head itself is the evidence, and the table has no room for two of one size.
    const detail = { code: 'tree-head', conflict: kind, size, heldSize, head: toBase64(bytes) };
    this.note({ kind: 'audit.conflict', subject: instanceId, atMs, detail });
  }

  private refuse(instanceId: string, known: InstanceLog, error: unknown): void {
    if (!(error instanceof WireFault)) {
      this.log.warn({ err: error, instance: instanceId, msg: 'a tree head could not be kept; the next one is' });
      return;
    }
    metrics.countRefusal(error.code);
    const nowMs = performance.now();
    if (nowMs - known.refusedAtMs < REFUSAL_PAUSE_MS) return;
    known.refusedAtMs = nowMs;
    const { code, detail } = error;
    this.log.warn({ instance: instanceId, code, detail, msg: 'refused a tree head' });
    this.note({ kind: 'audit.head-refused', subject: instanceId, atMs: Date.now(), detail: { code } });
  }

  private note(entry: { kind: string; subject: string; atMs: number; detail: Record<string, string | number> }): void {
    this.writer.write({ audit: [entry] }, { isLazy: true, whenAway: 'keep' }).catch((err: unknown) => {
      this.log.warn({ err, kind: entry.kind, msg: 'an audit entry was not written' });
    });
  }

  /** Forgets the heads of a log; the newest of them stays in the hub's own chain. */
  private async forget(instanceId: string, newest: KeptHead | undefined, kind: string, by: string): Promise<void> {
    await this.writer.transaction(async (client) => {
      await drizzle(client).delete(treeHeads).where(eq(treeHeads.logId, instanceId));
      const { size, root, envelope } = newest ?? { size: 0, root: new Uint8Array(), envelope: new Uint8Array() };
      const detail = { by, size, root: toHex(root), head: toBase64(envelope) };
      return { result: undefined, audit: [{ kind, subject: instanceId, atMs: Date.now(), detail }] };
    });
  }
}
