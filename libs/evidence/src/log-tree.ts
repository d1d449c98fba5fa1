import { createReadStream } from 'node:fs';
import { LocalFault } from '@capstan/protocol';
import { HASH_HEX, logLines } from './log-line.js';
import { MerkleTree } from './merkle/merkle-tree.js';

/** Records between two of which the place in the file is remembered. */
const STRIDE = 1_024;

/** The tree over a log's file. It reads old records again where a proof needs them, from the nearest known place on. */
export class LogTree {
  readonly tree = new MerkleTree((start, end) => this.read(start, end));
  private readonly places: number[] = [];
  private end = 0;

  constructor(private readonly file: string) {}

  /** Adds a record that is in the file; `bytes` is the length of its line. */
  append(hash: Uint8Array, bytes: number): void {
    if (this.tree.size % STRIDE === 0) this.places.push(this.end);
    this.tree.append(hash);
    this.end += bytes;
  }

  /** Chain hashes of the records with the indices [start, end), from the file. */
  async read(start: number, end: number): Promise<Uint8Array[]> {
    const stride = Math.floor(start / STRIDE);
    const hashes: Uint8Array[] = [];
    let index = stride * STRIDE;
    for await (const { bytes } of logLines(createReadStream(this.file, { start: this.places[stride] ?? 0 }))) {
      if (index >= start)
        hashes.push(new Uint8Array(Buffer.from(Buffer.from(bytes).toString('latin1', 0, HASH_HEX), 'hex')));
      index += 1;
      if (index >= end) return hashes;
    }
    throw new LocalFault('audit-damaged', 'The audit log has lost records.', this.file);
  }
}
