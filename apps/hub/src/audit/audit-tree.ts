import { Injectable } from '@nestjs/common';
import { asc, between, gt } from 'drizzle-orm';
import { LocalFault } from '@capstan/platform';
import { MerkleTree, type OwnLog } from '@capstan/evidence';
import { DatabaseService } from '../database/database.service.js';
import { audit } from '../database/schema.js';

/** Rows in one read. */
const PAGE = 5_000;
/** Reads by all who ask at once are one; and no more than this often. */
const FRESH_MS = 1_000;

/**
 * The Merkle tree over the hub's chain. It follows the table instead of the writer: a write costs nothing more, and what
 * another hub on the same database has written is in it too. After a start it reads the hashes of the whole chain once.
 */
@Injectable()
export class AuditTree implements OwnLog {
  readonly tree = new MerkleTree((start, end) => this.read(start, end));
  private following: Promise<void> | undefined;
  private followedAtMs = -Infinity;

  constructor(private readonly database: DatabaseService) {}

  /** Takes up what is new, unless it did so within the last second. Rejects while the database is away. */
  async refresh(): Promise<void> {
    if (performance.now() - this.followedAtMs < FRESH_MS) return;
    this.following ??= this.follow().finally(() => (this.following = undefined));
    await this.following;
  }

  /** Resolves once every entry is in the tree that was committed when this was called. */
  async catchUp(): Promise<void> {
    // What is under way may have read the table before the entry that the caller means was in it.
    await this.following;
    this.followedAtMs = -Infinity;
    await this.refresh();
  }

  private async follow(): Promise<void> {
    const startedAtMs = performance.now();
    for (;;) {
      const rows = await this.database.db
        .select({ sequence: audit.sequence, hash: audit.hash })
        .from(audit)
        .where(gt(audit.sequence, BigInt(this.tree.size)))
        .orderBy(asc(audit.sequence))
        .limit(PAGE);
      for (const { sequence, hash } of rows) {
        if (Number(sequence) !== this.tree.size + 1) throw gap(this.tree.size + 1);
        this.tree.append(hash);
      }
      if (rows.length < PAGE) break;
    }
    this.followedAtMs = startedAtMs;
  }

  private async read(start: number, end: number): Promise<Uint8Array[]> {
    const rows = await this.database.db
      .select({ hash: audit.hash })
      .from(audit)
      .where(between(audit.sequence, BigInt(start + 1), BigInt(end)))
      .orderBy(asc(audit.sequence));
    if (rows.length !== end - start) throw gap(start + 1);
    return rows.map(({ hash }) => hash);
  }
}

function gap(sequence: number): LocalFault {
  const sentence = 'The audit chain has lost an entry: stop the hub, and restore its database from a backup.';
  return new LocalFault('audit-damaged', sentence, `entry ${String(sequence)} or one after it`);
}
