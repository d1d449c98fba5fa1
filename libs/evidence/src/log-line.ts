import { bytesEqual, LocalFault } from '@capstan/protocol';
import { chainHash, GENESIS } from './chain.js';

/** What is written; the log adds sequence and time. */
export interface AuditEntryInput {
  /** What happened, as a dotted word, e.g. `command.refused`. */
  kind: string;
  /** To what: a command, an agent, a key. */
  subject: string;
  detail: Record<string, string | number | boolean>;
}

/** The last record of a chain; sequence 0 and GENESIS where there is none. */
export interface AuditHead {
  readonly sequence: bigint;
  /** 32 bytes. */
  readonly hash: Uint8Array;
}

export const EMPTY_CHAIN: AuditHead = { sequence: 0n, hash: GENESIS };

/** Bytes of one line; a longer one is damage, or an entry that does not belong in an audit log. */
export const LINE_BYTES = 64 * 1024;

/** Digits of a hash in hex, with which each line begins. */
export const HASH_HEX = 64;

/*
 * A line is `HASH JSON\n`: 64 digits of lower-case hex, a space, the record. The hash covers the record's bytes as
 * they stand in the file, so that nothing is serialised again to be verified, and grep and jq can read the log.
 */

/** The line of the record that follows `head`, and the head that it makes. @throws {LocalFault} `audit-entry` */
export function nextLine(head: AuditHead, atMs: number, entry: AuditEntryInput): { line: Buffer; head: AuditHead } {
  const sequence = head.sequence + 1n;
  const odd = Object.entries(entry.detail).find(([, value]) => typeof value === 'number' && !Number.isFinite(value));
  if (odd !== undefined)
    throw new LocalFault('audit-entry', 'An audit entry holds a number that JSON cannot hold.', odd[0]);
  const { kind, subject, detail } = entry;
  const record = Buffer.from(
    JSON.stringify({ sequence: Number(sequence), at: new Date(atMs).toISOString(), kind, subject, detail }),
  );
  if (record.length + HASH_HEX + 2 > LINE_BYTES) {
    throw new LocalFault('audit-entry', 'An audit entry is larger than 64 KiB.', kind);
  }
  const hash = chainHash(head.hash, record);
  const line = Buffer.concat([Buffer.from(`${Buffer.from(hash).toString('hex')} `), record, Buffer.from('\n')]);
  return { line, head: { sequence, hash } };
}

/** Follows a line (without its newline): the head after it, or why it does not continue the chain. */
export function follow(head: AuditHead, line: Uint8Array): AuditHead | string {
  const text = Buffer.from(line.buffer, line.byteOffset, line.length);
  const stated = text.toString('latin1', 0, HASH_HEX);
  if (!/^[0-9a-f]{64}$/.test(stated) || text[HASH_HEX] !== 0x20) return 'the line is not a hash and a record';
  const record = text.subarray(HASH_HEX + 1);
  const hash = chainHash(head.hash, record);
  if (!bytesEqual(hash, Buffer.from(stated, 'hex'))) return 'the hash does not fit the record and what is before it';
  const sequence = head.sequence + 1n;
  if (sequenceOf(record) !== String(sequence)) return `the record does not have the sequence ${String(sequence)}`;
  return { sequence, hash };
}

/** The sequence that a line (without its newline) claims, in digits; undefined where it is not a hash and a record. */
export function sequenceOfLine(line: Uint8Array): string | undefined {
  return sequenceOf(Buffer.from(line.buffer, line.byteOffset, line.length).subarray(HASH_HEX + 1));
}

/** A hub writes it as a text, an instance as a number. */
function sequenceOf(record: Buffer): string | undefined {
  try {
    const { sequence } = JSON.parse(record.toString('utf8')) as { sequence?: unknown };
    return typeof sequence === 'number' || typeof sequence === 'string' ? String(sequence) : undefined;
  } catch {
    return undefined;
  }
}

/** A line of a log, `complete` where its newline is there; only the last one can be incomplete. */
export interface LogLine {
  bytes: Uint8Array;
  complete: boolean;
}

/** Cuts a stream of bytes into lines. A line that grows past the limit is given as it is, incomplete, and ends it. */
export async function* logLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<LogLine> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    const bytes = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, from)) {
      yield { bytes: bytes.subarray(from, end), complete: true };
      from = end + 1;
    }
    rest = bytes.subarray(from);
    if (rest.length > LINE_BYTES) break;
  }
  if (rest.length > 0) yield { bytes: rest, complete: false };
}
