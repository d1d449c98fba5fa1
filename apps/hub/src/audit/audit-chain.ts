import { chainHash, GENESIS } from '@capstan/evidence';
import { bytesEqual } from '@capstan/protocol';

/** Something that happened at the hub, for the record. */
export interface AuditEntry {
  /** E.g. `command.issued`; a kind's meaning never changes. */
  kind: string;
  /** Id of what it is about. */
  subject: string;
  /** When it happened, milliseconds since the epoch. */
  atMs: number;
  detail: Readonly<Record<string, string | number | boolean>>;
  /** Written after what it records had its effect, because the database was not ready within this time. */
  lateAfterMs?: number;
}

/** A row of `audit`; `hash` is base64. */
export interface AuditRow {
  sequence: string;
  kind: string;
  subject: string;
  record: string;
  hash: string;
}

export interface AuditHead {
  sequence: bigint;
  hash: Uint8Array;
}

export const EMPTY_HEAD: AuditHead = { sequence: 0n, hash: GENESIS };

const encoder = new TextEncoder();

/** Links entries to the head, in order. Pure: the head is the caller's to keep once the rows are on disk. */
export function linkEntries(
  head: AuditHead,
  entries: readonly AuditEntry[],
  nowMs: number,
): { head: AuditHead; rows: AuditRow[] } {
  let { sequence, hash } = head;
  const rows = entries.map((entry) => {
    sequence += 1n;
    const record = recordOf(sequence, entry, nowMs);
    hash = chainHash(hash, encoder.encode(record));
    return {
      sequence: sequence.toString(),
      kind: entry.kind,
      subject: entry.subject,
      record,
      hash: Buffer.from(hash).toString('base64'),
    };
  });
  return { head: { sequence, hash }, rows };
}

function recordOf(sequence: bigint, entry: AuditEntry, nowMs: number): string {
  const { kind, subject, atMs, detail, lateAfterMs } = entry;
  const isLate = lateAfterMs !== undefined && nowMs - atMs > lateAfterMs;
  return JSON.stringify({
    sequence: sequence.toString(),
    at: new Date(atMs).toISOString(),
    kind,
    subject,
    detail,
    ...(isLate ? { late: true, writtenAt: new Date(nowMs).toISOString() } : {}),
  });
}

/** What a row holds once it comes back from the database. */
export interface StoredAuditRow {
  sequence: bigint;
  kind: string;
  subject: string;
  record: string;
  hash: Uint8Array;
}

/**
 * Checks a chain from its beginning. `head` is what somebody remembers of its end; without it a chain whose last
 * entries were cut off still looks whole.
 */
export async function verifyChain(
  rows: AsyncIterable<StoredAuditRow> | Iterable<StoredAuditRow>,
  head?: AuditHead,
): Promise<{ ok: true; head: AuditHead } | { ok: false; at: bigint; why: string }> {
  let { sequence, hash } = EMPTY_HEAD;
  for await (const row of rows) {
    sequence += 1n;
    if (row.sequence !== sequence) return { ok: false, at: sequence, why: 'an entry is missing or out of order' };
    hash = chainHash(hash, encoder.encode(row.record));
    if (!bytesEqual(hash, row.hash)) return { ok: false, at: sequence, why: 'the entry does not fit the chain' };
    if (!columnsMatch(row)) return { ok: false, at: sequence, why: 'the columns differ from the record' };
  }
  if (head !== undefined && (head.sequence !== sequence || !bytesEqual(head.hash, hash))) {
    return { ok: false, at: sequence, why: 'the chain does not end where it did' };
  }
  return { ok: true, head: { sequence, hash } };
}

function columnsMatch(row: StoredAuditRow): boolean {
  const { sequence, kind, subject } = JSON.parse(row.record) as Record<string, unknown>;
  return sequence === row.sequence.toString() && kind === row.kind && subject === row.subject;
}
