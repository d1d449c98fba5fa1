import { CONFLICT_SENTENCES, type LogConflict, PeerLog, type TreeProof, verifyTreeHead } from '@capstan/evidence';
import { KeyRing } from '@capstan/identity';
import { createLogger, metrics } from '@capstan/platform';
import { decodeEnvelope, toBase64, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { Audit } from './audit.js';
import { HubHeads } from './hub-heads.js';

/** However many the hub sends. */
const PAUSE_MS = 1_000;

/**
 * What this instance holds of the hub's audit log. A hub that contradicts what it has signed before is an alarm, for the
 * owner to act on: its orders are obeyed as before, since a kill must always be.
 */
@Injectable()
export class HubLog {
  private readonly log = createLogger('spoke.audit');
  private readonly heads: HubHeads;
  private loading: Promise<PeerLog> | undefined;
  private peer: PeerLog | undefined;
  private isBusy = false;
  private takenAtMs = -Infinity;

  constructor(
    { dir }: SpokeConfig,
    private readonly identity: SpokeIdentity,
    private readonly audit: Audit,
  ) {
    this.heads = new HubHeads({ newest: dir.hubHeadFile, hourly: dir.hubHeadsFile });
  }

  /** Entries of the newest head that is held; 0 where there is none, or it was not read yet. */
  get heldSize(): number {
    return this.peer?.held?.size ?? 0;
  }

  /** How the hub has contradicted itself since this process started. */
  get conflict(): LogConflict | undefined {
    return this.peer?.conflict;
  }

  /** Reads what is held, once. @throws LocalFault, WireFault where the file was damaged: it is not begun anew in silence */
  async load(): Promise<void> {
    this.loading ??= this.heads.load(new KeyRing(this.identity.hubKeys.records())).then((held) => new PeerLog(held));
    try {
      this.peer = await this.loading;
    } catch (error) {
      this.loading = undefined;
      throw error;
    }
  }

  /** Takes a head from the hub's heartbeat. Never throws: what is wrong with it is noted. */
  async take(bytes: Uint8Array, proof: TreeProof | undefined): Promise<void> {
    const nowMs = performance.now();
    if (this.peer === undefined || this.isBusy || nowMs - this.takenAtMs < PAUSE_MS) return;
    this.isBusy = true;
    this.takenAtMs = nowMs;
    try {
      await this.judge(this.peer, bytes, proof);
    } catch (error) {
      this.refuse(error);
    } finally {
      this.isBusy = false;
    }
  }

  private async judge(peer: PeerLog, bytes: Uint8Array, proof: TreeProof | undefined): Promise<void> {
    const { hubKeys: keys, hubId, instanceId: audience } = this.identity;
    const head = verifyTreeHead(decodeEnvelope(bytes), { keys, owner: 'hub', audience });
    if (head.logId !== hubId) throw new WireFault('wrong-issuer', head.logId);
    const nowMs = Date.now();
    const verdict = peer.judge(head, proof, nowMs);
    if (verdict.is === 'conflict') this.alarm(verdict.conflict, verdict.isNews, bytes);
    if (verdict.is !== 'newer') return;
    await this.heads.keep(bytes, nowMs);
    peer.hold(head);
  }

  private alarm({ kind, size, heldSize }: LogConflict, isNews: boolean, bytes: Uint8Array): void {
    metrics.countRefusal('tree-head');
    if (!isNews) return;
    this.log.error({ hub: this.identity.hubId, kind, size, heldSize, msg: `the hub: ${CONFLICT_SENTENCES[kind]}` });
    // The head itself is the evidence.
    const detail = { code: 'tree-head', conflict: kind, size, heldSize, head: toBase64(bytes) };
    this.audit.noteSome({ kind: 'audit.conflict', subject: this.identity.hubId, detail });
  }

  private refuse(error: unknown): void {
    if (!(error instanceof WireFault)) {
      this.log.warn({ err: error, msg: 'a tree head could not be kept; the next one is' });
      return;
    }
    metrics.countRefusal(error.code);
    this.log.warn({ code: error.code, detail: error.detail, msg: 'refused a tree head of the hub' });
    this.audit.noteSome({ kind: 'audit.head-refused', subject: this.identity.hubId, detail: { code: error.code } });
  }
}
