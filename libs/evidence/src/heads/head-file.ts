import { decodeEnvelope, encodeEnvelope, type Envelope, fromBase64, LocalFault, toBase64 } from '@capstan/protocol';

/** A head in a file, one JSON object a line, for whoever keeps another's heads and shows them as a witness. */
interface HeadLine {
  version: 1;
  kind: 'capstan.tree-head';
  /** Base64 of the envelope. */
  head: string;
  /** When it was received, ISO 8601; for people, and not verified. */
  receivedAt: string;
}

/** The line of a head, with its newline. */
export function headLine(envelope: Envelope, receivedAtMs: number): string {
  const line: HeadLine = {
    version: 1,
    kind: 'capstan.tree-head',
    head: toBase64(encodeEnvelope(envelope)),
    receivedAt: new Date(receivedAtMs).toISOString(),
  };
  return `${JSON.stringify(line)}\n`;
}

/** The heads in a file; nothing in them is verified yet. @throws {LocalFault} `heads-malformed` */
export function parseHeads(text: string): { envelope: Envelope; receivedAtMs: number }[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line, at) => parseLine(line, at + 1));
}

function parseLine(text: string, lineNumber: number): { envelope: Envelope; receivedAtMs: number } {
  try {
    const { version, kind, head, receivedAt } = JSON.parse(text) as Partial<Record<keyof HeadLine, unknown>>;
    if (version !== 1 || kind !== 'capstan.tree-head') throw new TypeError('not a capstan.tree-head of version 1');
    const receivedAtMs = Date.parse(String(receivedAt));
    if (typeof head !== 'string' || Number.isNaN(receivedAtMs)) throw new TypeError('no head, or no time');
    return { envelope: decodeEnvelope(fromBase64(head)), receivedAtMs };
  } catch (cause) {
    const detail = `line ${String(lineNumber)}`;
    throw new LocalFault('heads-malformed', 'These are no heads that Capstan kept.', detail, { cause });
  }
}
