import { createReadStream } from 'node:fs';
import { LocalFault } from '@capstan/protocol';
import { GENESIS } from './chain.js';
import { EMPTY_CHAIN, follow, logLines } from './log-line.js';
import { LogTree } from './log-tree.js';
import type { MerkleTree } from './merkle/merkle-tree.js';

/**
 * A log as it stands on disk, also while its owner goes on writing it: the whole records that were there when it was
 * opened. Nothing is changed about it.
 */
export class LogReader {
  private constructor(
    private readonly file: string,
    private readonly records: LogTree,
  ) {}

  /** Follows the chain from its beginning. @throws {LocalFault} `audit-damaged` at the first record that fails; `file-missing` */
  static async open(file: string): Promise<LogReader> {
    const records = new LogTree(file);
    let head = EMPTY_CHAIN;
    try {
      for await (const { bytes, complete } of logLines(createReadStream(file))) {
        if (!complete) break;
        const next = follow(head, bytes);
        if (typeof next === 'string') throw damaged(`record ${String(head.sequence + 1n)}: ${next}`);
        head = next;
        records.append(head.hash, bytes.length + 1);
      }
    } catch (cause) {
      if (cause instanceof LocalFault) throw cause;
      throw new LocalFault('file-missing', 'The audit log cannot be read.', file, { cause });
    }
    return new LogReader(file, records);
  }

  get tree(): MerkleTree {
    return this.records.tree;
  }

  /** Chain hash of a record; the genesis hash for 0. */
  async hashOf(sequence: number): Promise<Uint8Array> {
    if (sequence === 0) return GENESIS;
    const [hash] = await this.records.read(sequence - 1, sequence);
    if (hash === undefined) throw damaged(`record ${String(sequence)}`);
    return hash;
  }

  /** The records from one sequence to another, both included, as a bundle holds them: with newline. */
  async *lines(from: number, to: number): AsyncGenerator<string> {
    let sequence = 0;
    for await (const { bytes } of logLines(createReadStream(this.file))) {
      sequence += 1;
      if (sequence > to) return;
      if (sequence >= from) yield `${Buffer.from(bytes).toString('utf8')}\n`;
    }
  }
}

function damaged(why: string): LocalFault {
  return new LocalFault('audit-damaged', 'The audit log is damaged. Keep it as it is: it is evidence.', why);
}
