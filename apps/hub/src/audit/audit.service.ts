import { Injectable } from '@nestjs/common';
import { and, asc, gt, lte } from 'drizzle-orm';
import { signTreeHead } from '@capstan/evidence';
import { encodeEnvelope, toBase64, toHex, WireFault } from '@capstan/protocol';
import { DatabaseService } from '../database/database.service.js';
import { audit } from '../database/schema.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { AuditTree } from './audit-tree.js';

/** An entry as the API shows it. `record` is the text that was hashed: parse it to read it, never to verify it. */
export interface AuditEntryView {
  sequence: number;
  /** Hex; chain hash over the entry before and `record`. */
  hash: string;
  record: string;
}

export interface AuditHeadView {
  logId: string;
  size: number;
  /** Hex. */
  root: string;
  /** Base64 of an envelope with the signed TreeHead. */
  head: string;
}

/** Reads the hub's chain, and proves what stands in it. */
@Injectable()
export class AuditService {
  constructor(
    private readonly identity: HubIdentity,
    private readonly database: DatabaseService,
    private readonly log: AuditTree,
  ) {}

  /** Entries after a sequence, oldest first; `next` goes on from there. */
  async entries(after: number, limit: number): Promise<{ entries: AuditEntryView[]; next: number }> {
    const rows = await this.database.db
      .select({ sequence: audit.sequence, hash: audit.hash, record: audit.record })
      .from(audit)
      .where(and(gt(audit.sequence, BigInt(after)), lte(audit.sequence, BigInt(after) + BigInt(limit))))
      .orderBy(asc(audit.sequence));
    const entries = rows.map(({ sequence, hash, record }) => ({
      sequence: Number(sequence),
      hash: toHex(hash),
      record,
    }));
    return { entries, next: entries.at(-1)?.sequence ?? after };
  }

  /** A head over everything that is committed, signed now. It is addressed to the hub itself: no peer takes it. */
  async head(): Promise<AuditHeadView> {
    await this.log.catchUp();
    const { tree } = this.log;
    const state = { size: tree.size, root: tree.root() };
    const { hubId, key } = this.identity;
    const head = signTreeHead({ key, owner: 'hub', logId: hubId, audience: hubId, ...state, nowMs: Date.now() });
    return { logId: hubId, size: state.size, root: toHex(state.root), head: toBase64(encodeEnvelope(head)) };
  }

  /** @throws WireFault `not-found` where the tree is not that large, as all of these */
  async inclusion(sequence: number, size: number): Promise<string[]> {
    await this.mustHold(size);
    if (sequence > size) throw new WireFault('not-found', 'the entry is beyond the tree');
    return (await this.log.tree.inclusionProof(sequence - 1, size)).map(toHex);
  }

  async consistency(from: number, to: number): Promise<string[]> {
    await this.mustHold(to);
    if (from > to) throw new WireFault('not-found', 'the earlier tree is the larger one');
    return (await this.log.tree.consistencyProof(from, to)).map(toHex);
  }

  async compactRange(size: number): Promise<string[]> {
    await this.mustHold(size);
    return (await this.log.tree.compactRange(size)).map(toHex);
  }

  private async mustHold(size: number): Promise<void> {
    if (this.log.tree.size < size) await this.log.catchUp();
    if (this.log.tree.size < size)
      throw new WireFault('not-found', `the log has ${String(this.log.tree.size)} entries`);
  }
}
