import type { FileHandle } from 'node:fs/promises';
import { LocalFault } from '@capstan/protocol';
import { EMPTY_CHAIN, follow, logLines, type AuditHead, type LogLine } from './log-line.js';
import type { LogTree } from './log-tree.js';

/** Where a log that was opened ends, and what was done about its end. */
export interface LogEnd {
  head: AuditHead;
  /** Bytes of the file up to and with the last whole record. */
  size: number;
  /** Bytes of a torn write that were cut off. */
  tornBytes: number;
}

/**
 * Follows the chain of an open log to its end, and repairs what a crash in the middle of a write can leave: a last
 * record that lacks its end (it was never acknowledged, and is cut off) or its newline (which is added). Each record is
 * added to `tree`.
 *
 * @throws {LocalFault} `audit-damaged` for anything else
 */
export async function recoverLog(handle: FileHandle, file: string, tree: LogTree): Promise<LogEnd> {
  let head = EMPTY_CHAIN;
  let size = 0;
  for await (const line of logLines(handle.createReadStream({ start: 0, autoClose: false }))) {
    const next = follow(head, line.bytes);
    if (line.complete && typeof next !== 'string') {
      head = next;
      size += line.bytes.length + 1;
      tree.append(head.hash, line.bytes.length + 1);
      continue;
    }
    if (!isTorn(head, line)) throw damaged(file, head, typeof next === 'string' ? next : '');
    if (typeof next === 'string') {
      await handle.truncate(size);
      await handle.datasync();
      return { head, size, tornBytes: line.bytes.length };
    }
    await handle.appendFile('\n');
    await handle.datasync();
    tree.append(next.hash, line.bytes.length + 1);
    return { head: next, size: size + line.bytes.length + 1, tornBytes: 0 };
  }
  return { head, size, tornBytes: 0 };
}

/** Whether a write that was cut short can have left this. A record whose newline became another byte was not cut. */
function isTorn(head: AuditHead, { bytes, complete }: LogLine): boolean {
  return !complete && typeof follow(head, bytes.subarray(0, -1)) === 'string';
}

function damaged(file: string, head: AuditHead, why: string): LocalFault {
  const sentence = 'The audit log is damaged. Move it away, keep it as evidence, and start again: a new log is begun.';
  return new LocalFault('audit-damaged', sentence, `${file}, record ${String(head.sequence + 1n)}: ${why}`);
}
