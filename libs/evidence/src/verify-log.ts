import { createReadStream } from 'node:fs';
import { bytesEqual } from '@capstan/protocol';
import { EMPTY_CHAIN, follow, logLines, type AuditHead } from './log-line.js';

export type LogVerdict =
  | { ok: true; entries: number; head: AuditHead }
  | { ok: false; /** Sequence of the first record that is wrong or missing. */ at: number; why: string };

/**
 * Reads a log from its beginning and follows every link.
 *
 * The chain alone proves that nothing before its end was edited, removed or reordered. That nothing was cut off its
 * end, and that it was not written anew from the beginning, is proven by `anchors`: positions that somebody else holds,
 * such as `Receipt.audit`.
 */
export async function verifyLog(
  source: string | AsyncIterable<Uint8Array>,
  anchors: Iterable<AuditHead> = [],
): Promise<LogVerdict> {
  let head = EMPTY_CHAIN;
  const wanted = [...anchors].sort((a, b) => Number(a.sequence - b.sequence));
  for await (const { bytes, complete } of logLines(typeof source === 'string' ? createReadStream(source) : source)) {
    const at = Number(head.sequence) + 1;
    if (!complete) return { ok: false, at, why: 'the record is cut off' };
    const next = follow(head, bytes);
    if (typeof next === 'string') return { ok: false, at, why: next };
    head = next;
    while (wanted[0]?.sequence === head.sequence) {
      const anchor = wanted.shift();
      if (anchor !== undefined && !bytesEqual(anchor.hash, head.hash)) {
        return { ok: false, at, why: 'the record is not the one that was attested' };
      }
    }
  }
  const missing = wanted[0];
  if (missing !== undefined) {
    const at = Number(head.sequence) + 1;
    return { ok: false, at, why: `the log ends before record ${String(missing.sequence)}, which was attested` };
  }
  return { ok: true, entries: Number(head.sequence), head };
}
