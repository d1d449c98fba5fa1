import {
  type Envelope,
  decodeEnvelope,
  encodeEnvelope,
  fromBase64,
  fromHex,
  LocalFault,
  toBase64,
  toHex,
} from '@capstan/protocol';

/**
 * A run of a log's entries in a file, with what proves that they stand there. Its first line is a header, one JSON
 * object; then each entry has a line as in the log itself, `HASH RECORD`. So it can be written and verified as a stream,
 * however long the log is. It holds no keys: those must come from elsewhere.
 */
export interface AuditBundleHeader {
  /** Sequences of the first and the last entry; `to` is `from - 1` where there is none. */
  from: number;
  to: number;
  /** Chain hash of the entry before `from`; the genesis hash where that is 1. */
  previous: Uint8Array;
  /** The compact range over the entries before `from`. */
  before: readonly Uint8Array[];
  /** Proves that the log of the head begins with the entries up to `to`. */
  consistency: readonly Uint8Array[];
  /** The head that the log's owner has signed. */
  head: Envelope;
  /** Those that lead from keys that were pinned once to those that have signed heads; may be left out. */
  keyStatements?: readonly Envelope[];
}

const KIND = 'capstan.audit';
const FIELDS = ['version', 'kind', 'from', 'to', 'previous', 'before', 'consistency', 'head'];
const STATEMENTS = 'keyStatements';
const MOST_STATEMENTS = 1_000;

/** The bundle's first line, with its newline. */
export function bundleHeaderLine(header: AuditBundleHeader): string {
  const json = {
    version: 1,
    kind: KIND,
    from: header.from,
    to: header.to,
    previous: toHex(header.previous),
    before: header.before.map(toHex),
    consistency: header.consistency.map(toHex),
    head: toBase64(encodeEnvelope(header.head)),
    ...(header.keyStatements === undefined || header.keyStatements.length === 0
      ? {}
      : { [STATEMENTS]: header.keyStatements.map((each) => toBase64(encodeEnvelope(each))) }),
  };
  return `${JSON.stringify(json)}\n`;
}

/** The line of an entry, with its newline. */
export function bundleEntryLine(hash: Uint8Array, record: string): string {
  return `${toHex(hash)} ${record}\n`;
}

/** Whether this is the first line of a bundle, sound or not. */
export function isBundleHeader(line: string): boolean {
  try {
    return (JSON.parse(line) as { kind?: unknown } | null)?.kind === KIND;
  } catch {
    return false;
  }
}

/** Reads a bundle's first line; nothing in it is verified yet. @throws {LocalFault} `bundle-malformed` */
export function parseBundleHeader(line: string): AuditBundleHeader {
  try {
    const json = JSON.parse(line) as Record<string, unknown>;
    if (json['version'] !== 1 || json['kind'] !== KIND) throw new TypeError(`not a ${KIND} of version 1`);
    const fields = json[STATEMENTS] === undefined ? FIELDS : [...FIELDS, STATEMENTS];
    if (Object.keys(json).join() !== fields.join()) throw new TypeError('other fields, or in another order');
    const [from, to] = [sequence(json['from']), sequence(json['to'])];
    if (from < 1 || to < from - 1) throw new RangeError('it ends before it begins');
    return {
      from,
      to,
      previous: hash(json['previous']),
      before: hashes(json['before']),
      consistency: hashes(json['consistency']),
      head: decodeEnvelope(fromBase64(text(json['head']))),
      keyStatements: statements(json[STATEMENTS] ?? []),
    };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : undefined;
    throw new LocalFault('bundle-malformed', 'This is not an audit bundle that Capstan wrote.', why, { cause });
  }
}

function statements(value: unknown): Envelope[] {
  if (!Array.isArray(value) || value.length > MOST_STATEMENTS) throw new TypeError('no list of key statements');
  return value.map((each) => decodeEnvelope(fromBase64(text(each))));
}

function sequence(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new TypeError('no sequence');
  return value;
}

function hashes(value: unknown): Uint8Array[] {
  if (!Array.isArray(value) || value.length > 128) throw new TypeError('no list of hashes');
  return value.map(hash);
}

function hash(value: unknown): Uint8Array {
  if (!/^[0-9a-f]{64}$/.test(text(value))) throw new TypeError('no hash in hex');
  return fromHex(text(value));
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('not a text');
  return value;
}
