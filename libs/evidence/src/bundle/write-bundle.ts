import type { Envelope } from '@capstan/protocol';
import { bundleHeaderLine } from './audit-bundle.js';

/** Where the entries of a log come from: its own file, or the API of its hub. */
export interface BundleSource {
  /** The head that stands for the whole log; everything else is asked for below its size. */
  head: Envelope;
  size: number;
  /** Statements about keys that its readers may not have pinned. */
  keyStatements?: readonly Envelope[];
  compactRange(size: number): Promise<readonly Uint8Array[]>;
  consistencyProof(from: number, to: number): Promise<readonly Uint8Array[]>;
  /** Chain hash of an entry; the genesis hash for 0. */
  hashOf(sequence: number): Promise<Uint8Array>;
  /** The lines of entries, both ends included, each with its newline. */
  lines(from: number, to: number): AsyncIterable<string>;
}

/** The bundle of a run of entries, line by line. */
export async function* bundleLines(source: BundleSource, from: number, to: number): AsyncGenerator<string> {
  yield bundleHeaderLine({
    from,
    to,
    previous: await source.hashOf(from - 1),
    before: await source.compactRange(from - 1),
    consistency: await source.consistencyProof(to, source.size),
    head: source.head,
    keyStatements: source.keyStatements ?? [],
  });
  yield* source.lines(from, to);
}
