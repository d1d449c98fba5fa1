import { type Belief, believeStatements, explainUnknown, type KeyRing } from '@capstan/identity';
import { bytesEqual, type Envelope, LocalFault, WireFault } from '@capstan/protocol';
import { GENESIS } from '../chain.js';
import { type VerifiedHead, verifyTreeHead } from '../heads/tree-head.js';
import { type AuditHead, follow, logLines, sequenceOfLine } from '../log-line.js';
import { CompactRange } from '../merkle/compact-range.js';
import { leafHash } from '../merkle/tree-hash.js';
import { verifyConsistency } from '../merkle/verify-proof.js';
import { type AuditBundleHeader, parseBundleHeader } from './audit-bundle.js';
import { type AuditFlaw, Flaw } from './flaw.js';
import { Witnesses } from './witnesses.js';

/** What a verification comes to. */
export type AuditVerdict =
  | {
      ok: true;
      head: VerifiedHead;
      from: number;
      to: number;
      /** Heads of the witness that agree. */
      agreed: number;
      /** Heads of the witness of which this part of the log says nothing. */
      beyond: number;
    }
  | {
      ok: false;
      flaw: AuditFlaw;
      /** Sequence of the first entry that fails; null where it is the head or the header. */
      record: number | null;
      why: string;
    };

export interface BundleToVerify {
  source: AsyncIterable<Uint8Array>;
  /** Pinned keys: the only ones that are believed. */
  keys: KeyRing;
  /** Heads of this log that the other side has kept. */
  witness?: readonly Envelope[];
}

/**
 * Verifies a bundle offline and as a stream: the head's signature, each entry's place in the chain, and that the entries
 * are those of the tree that the head names; then that tree against the heads that somebody else has kept, without
 * which an owner could have written the whole log anew.
 *
 * @throws {LocalFault} `bundle-malformed` where it has no header
 */
export async function verifyAuditBundle({ source, keys: pinned, witness = [] }: BundleToVerify): Promise<AuditVerdict> {
  const lines = logLines(source);
  const first = await lines.next();
  const header = parseBundleHeader(first.done === true ? '' : Buffer.from(first.value.bytes).toString('utf8'));
  try {
    const belief = believeStatements(pinned, header.keyStatements ?? []);
    const head = verifiedHead(header.head, belief, 'head-signature');
    const kept = witness.map((envelope) => verifiedHead(envelope, belief, 'witness-signature'));
    checkHeader(header, head);
    return await new BundleWalk(header, head, new Witnesses(kept, head)).run(lines);
  } catch (error) {
    if (error instanceof Flaw) return { ok: false, flaw: error.flaw, record: error.record, why: error.message };
    throw error;
  }
}

/** A head of an instance's log or of a hub's; which of them, the pinned key decides. */
function verifiedHead(envelope: Envelope, belief: Belief, flaw: AuditFlaw): VerifiedHead {
  try {
    return verifyTreeHead(envelope, { keys: belief.keys, owner: ownerOf(envelope, belief.keys) });
  } catch (error) {
    const why = explainUnknown(error, belief, envelope);
    if (why instanceof LocalFault) throw new Flaw(flaw, null, why.sentence);
    if (why instanceof WireFault) throw new Flaw(flaw, null, `the head does not hold: ${why.message}`);
    throw why;
  }
}

function ownerOf({ signatures }: Envelope, keys: KeyRing): 'hub' | 'instance' {
  const isReceiver = signatures.some(({ keyId }) => keys.get(keyId)?.purposes.includes('receipt') === true);
  return isReceiver ? 'instance' : 'hub';
}

function checkHeader({ from, to, previous, before }: AuditBundleHeader, head: VerifiedHead): void {
  if (to > head.size) throw new Flaw('header', null, 'the head is older than the last entry');
  if (from === 1 && !bytesEqual(previous, GENESIS))
    throw new Flaw('header', null, 'the chain does not begin at its beginning');
  try {
    CompactRange.of(from - 1, before);
  } catch {
    throw new Flaw('header', null, 'what stands for the entries before the first one does not fit their number');
  }
}

class BundleWalk {
  private readonly range: CompactRange;
  private at: AuditHead;

  constructor(
    private readonly header: AuditBundleHeader,
    private readonly head: VerifiedHead,
    private readonly witnesses: Witnesses,
  ) {
    this.range = CompactRange.of(header.from - 1, header.before);
    this.at = { sequence: BigInt(header.from - 1), hash: header.previous };
  }

  async run(lines: AsyncIterable<{ bytes: Uint8Array; complete: boolean }>): Promise<AuditVerdict> {
    this.compare();
    for await (const line of lines) this.take(line);
    const { from, to, consistency } = this.header;
    if (this.range.size < to) throw new Flaw('truncated', this.range.size + 1, `the entries end before ${String(to)}`);
    const tree = { size: to, root: this.range.root() };
    if (!verifyConsistency(tree, this.head, consistency)) {
      const why = `the entries from ${String(this.witnesses.suspect(from))} to ${String(to)} are not those of the signed head`;
      throw new Flaw('root', this.witnesses.suspect(from), why);
    }
    const { agreed, beyond } = this.witnesses.summary();
    return { ok: true, head: this.head, from, to, agreed, beyond };
  }

  private take({ bytes, complete }: { bytes: Uint8Array; complete: boolean }): void {
    const record = this.range.size + 1;
    if (record > this.header.to) throw new Flaw('surplus', record, 'there are more entries than the header names');
    if (!complete) throw new Flaw('truncated', record, 'the entry is cut off, or too long');
    const stated = sequenceOfLine(bytes);
    if (stated === undefined) throw new Flaw('malformed', record, 'the line is not a hash and a record');
    if (stated !== String(record))
      throw new Flaw('sequence', record, `entry ${stated.slice(0, 20)} stands where ${String(record)} should`);
    const next = follow(this.at, bytes);
    if (typeof next === 'string') throw new Flaw('chain', record, next);
    this.at = next;
    this.range.append(leafHash(next.hash));
    this.compare();
  }

  private compare(): void {
    this.witnesses.compare(this.range);
  }
}
