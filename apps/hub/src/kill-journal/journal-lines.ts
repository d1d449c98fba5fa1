import { crc32 } from 'node:zlib';

/** What a file of the journal holds: one entry a line, `CRC JSON\n`, the CRC-32 of the JSON in 8 digits of hex. */
export interface JournalContent<T> {
  entries: T[];
  /** Whether the last line lacks its end: a write that was cut off. Nobody was told that it is on disk. */
  isTorn: boolean;
  /** Numbers, from 1, of whole lines that do not fit their checksum. */
  damaged: number[];
}

const CRC_HEX = 8;

/** An entry as it stands in the file. */
export function journalLine(entry: unknown): Buffer {
  const text = JSON.stringify(entry);
  return Buffer.from(`${checksum(text)} ${text}\n`);
}

/** Every entry that can be read; a damaged one takes no other down with it. */
export function readJournal<T>(bytes: Buffer): JournalContent<T> {
  const lines = bytes.toString('utf8').split('\n');
  const isTorn = lines.pop() !== '';
  const entries: T[] = [];
  const damaged: number[] = [];
  for (const [index, line] of lines.entries()) {
    const text = line.slice(CRC_HEX + 1);
    if (line.slice(0, CRC_HEX + 1) === `${checksum(text)} `) entries.push(JSON.parse(text) as T);
    else damaged.push(index + 1);
  }
  return { entries, isTorn, damaged };
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(CRC_HEX, '0');
}
