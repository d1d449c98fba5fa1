import { appendFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { toHex } from '@capstan/protocol';
import { proves } from '../../../test/support/proves.js';
import { AuditLog, type AuditEntryInput } from './audit-log.js';
import { chainHash, GENESIS } from './chain.js';
import { verifyLog } from './verify-log.js';

const entry = (n: number): AuditEntryInput => ({
  kind: 'command.accepted',
  subject: `agent-${n}`,
  detail: { n, late: false, text: 'line\nbreak "é"' },
});
const localFault = (code: string): Error => expect.objectContaining({ name: 'LocalFault', code }) as Error;

let dir: string;
let file: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'capstan-audit-'));
  file = join(dir, 'spoke.log');
});
afterEach(() => rm(dir, { recursive: true }));

async function written(count: number): Promise<Buffer> {
  await using log = await AuditLog.open(file, { clock: () => 1_767_323_045_678 });
  for (let n = 1; n <= count; n++) await log.append(entry(n));
  return await readFile(file);
}

const verdictOf = (...parts: Uint8Array[]) => verifyLog(Readable.from([Buffer.concat(parts)]));
const linesOf = (bytes: Buffer): Buffer[] =>
  bytes
    .toString('latin1')
    .split('\n')
    .slice(0, -1)
    .map((line) => Buffer.from(`${line}\n`, 'latin1'));

describe('AuditLog', () => {
  it('writes records that anybody can read and chain', async () => {
    const [first, second] = linesOf(await written(2));
    const [hash, ...json] = first!.toString().trimEnd().split(' ');
    const record = json.join(' ');
    expect(JSON.parse(record)).toEqual({ sequence: 1, at: '2026-01-02T03:04:05.678Z', ...entry(1) });
    const firstHash = chainHash(GENESIS, Buffer.from(record));
    expect(hash).toBe(toHex(firstHash));
    expect(second!.toString().slice(0, 64)).toBe(toHex(chainHash(firstHash, second!.subarray(65, -1))));
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('goes on where it stopped', async () => {
    await written(3);
    await using log = await AuditLog.open(file);
    expect(log.head().sequence).toBe(3n);
    expect(await log.append(entry(4))).toEqual({ sequence: 4n, hash: log.head().hash });
    expect(await verifyLog(file)).toMatchObject({ ok: true, entries: 4, head: log.head() });
  });

  it('begins with sequence 0 and the genesis hash', async () => {
    await using log = await AuditLog.open(file);
    expect(log.head()).toEqual({ sequence: 0n, hash: GENESIS });
    expect(await verifyLog(file)).toEqual({ ok: true, entries: 0, head: log.head() });
  });

  it('has an entry on disk before it says so, in the order of the calls, however many come at once', async () => {
    await using log = await AuditLog.open(file);
    const positions = await Promise.all(
      Array.from({ length: 500 }, async (_, n) => {
        const position = await log.append(entry(n));
        expect(Number(position.sequence)).toBe(n + 1);
        expect(log.head().sequence).toBeGreaterThanOrEqual(position.sequence);
        return position;
      }),
    );
    expect(await verifyLog(file, positions)).toMatchObject({ ok: true, entries: 500 });
  });

  it('commits entries that come together with few writes', async () => {
    await using log = await AuditLog.open(file);
    const commits = new Set<bigint>();
    const waits = Array.from({ length: 100 }, (_, n) =>
      log.append(entry(n)).then(() => commits.add(log.head().sequence)),
    );
    await Promise.all(waits);
    expect(commits.size).toBeLessThanOrEqual(2);
  });

  it('writes what was appended before it was closed, and nothing after', async () => {
    const log = await AuditLog.open(file);
    const last = log.append(entry(1));
    await log.close();
    await log.close();
    expect((await last).sequence).toBe(1n);
    await expect(log.append(entry(2))).rejects.toThrow(localFault('audit-closed'));
  });

  it('refuses an entry that cannot be written down, and goes on', async () => {
    await using log = await AuditLog.open(file);
    await expect(log.append({ ...entry(1), detail: { n: Number.NaN } })).rejects.toThrow(localFault('audit-entry'));
    await expect(log.append({ ...entry(1), subject: 'x'.repeat(70_000) })).rejects.toThrow(localFault('audit-entry'));
    expect((await log.append(entry(1))).sequence).toBe(1n);
  });

  it('stops when somebody else writes to its file', async () => {
    await using log = await AuditLog.open(file);
    await log.append(entry(1));
    await appendFile(file, 'x');
    await expect(log.append(entry(2))).rejects.toThrow(localFault('audit-broken'));
    await expect(log.append(entry(3))).rejects.toThrow(localFault('audit-broken'));
    expect(log.head().sequence).toBe(1n);
  });
});

describe('opening a log', () => {
  it('cuts a torn last record off, wherever it was torn, and goes on before it', async () => {
    const whole = await written(3);
    const [, , last] = linesOf(whole);
    for (let size = 1; size < last!.length - 1; size += 7) {
      await writeFile(file, whole.subarray(0, whole.length - last!.length + size));
      await using log = await AuditLog.open(file);
      expect(log.tornBytes).toBe(size);
      expect((await log.append(entry(3))).sequence).toBe(3n);
      expect(await verifyLog(file)).toMatchObject({ ok: true, entries: 3 });
    }
  });

  it('keeps a last record that lacks only its newline', async () => {
    const whole = await written(3);
    await truncate(file, whole.length - 1);
    await using log = await AuditLog.open(file);
    expect(log.head().sequence).toBe(3n);
    expect(await readFile(file)).toEqual(whole);
  });

  it('takes zeros after the last record for a torn write', async () => {
    await written(2);
    await appendFile(file, Buffer.alloc(4096));
    await using log = await AuditLog.open(file);
    expect(log).toMatchObject({ tornBytes: 4096 });
    expect(log.head().sequence).toBe(2n);
  });

  it('refuses any byte that was changed, in the last record too', async () => {
    const whole = await written(3);
    for (let at = 0; at < whole.length; at += 5) await expectDamaged(flip(whole, at));
    await expectDamaged(flip(whole, whole.length - 1));
  });

  it('refuses a record that was taken away from before the last one', async () => {
    const [first, second, third] = linesOf(await written(3));
    await expectDamaged(Buffer.concat([second!, third!]));
    await expectDamaged(Buffer.concat([first!, third!]));
  });

  async function expectDamaged(bytes: Buffer): Promise<void> {
    await writeFile(file, bytes);
    await expect(AuditLog.open(file)).rejects.toThrow(localFault('audit-damaged'));
    expect(await readFile(file)).toEqual(bytes);
  }
});

function flip(bytes: Buffer, at: number, bit = 1): Buffer {
  const copy = Buffer.from(bytes);
  copy[at]! ^= bit;
  return copy;
}

describe('verifyLog', () => {
  it(
    'detects each byte that was changed',
    proves('FED-18', async () => {
      const whole = await written(4);
      expect(await verdictOf(whole)).toMatchObject({ ok: true, entries: 4 });
      let start = 0;
      for (const [index, line] of linesOf(whole).entries()) {
        for (let at = 0; at < line.length; at++) {
          for (const bit of [0x01, 0x20, 0x80]) {
            expect(await verdictOf(flip(whole, start + at, bit))).toMatchObject({ ok: false, at: index + 1 });
          }
        }
        start += line.length;
      }
    }),
  );

  it(
    'detects each record that was removed, doubled, moved or invented',
    proves('FED-18', async () => {
      const lines = linesOf(await written(5));
      const { head } = (await verdictOf(...lines)) as { head: { sequence: bigint; hash: Uint8Array } };
      for (let index = 0; index < lines.length; index++) {
        const at = index + 1;
        const before = lines.slice(0, index);
        const line = lines[index]!;
        const after = lines.slice(index + 1);
        expect(await verdictOf(...before, line, line, ...after)).toMatchObject({ ok: false, at: at + 1 });
        expect(await verdictOf(...before, Buffer.from(`${'0'.repeat(64)} {}\n`), line)).toMatchObject({
          ok: false,
          at,
        });
        if (after.length === 0) continue;
        expect(await verdictOf(...before, ...after)).toMatchObject({ ok: false, at });
        expect(await verdictOf(...before, ...after, line)).toMatchObject({ ok: false, at });
      }
      expect(await verifyLog(Readable.from([Buffer.concat(lines)]), [head])).toMatchObject({ ok: true });
    }),
  );

  it(
    'detects each truncation: inside a record by itself, between records by a position that somebody else holds',
    proves('FED-18', async () => {
      const whole = await written(4);
      const verdict = await verdictOf(whole);
      if (!verdict.ok) throw new Error(verdict.why);
      const ends = new Map<number, number>();
      let end = 0;
      for (const [index, line] of linesOf(whole).entries()) ends.set((end += line.length), index + 2);
      for (let size = 1; size < whole.length; size++) {
        const cut = await verifyLog(Readable.from([whole.subarray(0, size)]), [verdict.head]);
        expect(cut).toMatchObject(ends.has(size) ? { ok: false, at: ends.get(size) } : { ok: false });
      }
    }),
  );

  it(
    'detects a log that was written anew from any record on',
    proves('FED-18', async () => {
      await written(4);
      const attested = await verifyLog(file);
      if (!attested.ok) throw new Error(attested.why);
      await rm(file);
      await using log = await AuditLog.open(file);
      for (let n = 1; n <= 6; n++) await log.append({ ...entry(n), kind: 'rewritten' });
      expect(await verifyLog(file)).toMatchObject({ ok: true, entries: 6 });
      expect(await verifyLog(file, [attested.head])).toMatchObject({ ok: false, at: 4 });
    }),
  );

  it('detects a record that is chained but counts wrong', async () => {
    const record = Buffer.from('{"sequence":2}');
    const hash = toHex(chainHash(GENESIS, record));
    expect(await verdictOf(Buffer.from(`${hash} `), record, Buffer.from('\n'))).toMatchObject({ ok: false, at: 1 });
    const none = Buffer.from('no JSON');
    const noneHash = toHex(chainHash(GENESIS, none));
    expect(await verdictOf(Buffer.from(`${noneHash} `), none, Buffer.from('\n'))).toMatchObject({ ok: false, at: 1 });
  });

  it('reads a log in pieces of any size', async () => {
    const whole = await written(3);
    for (const size of [1, 2, 63, 64, 65, 1000]) {
      const pieces = Array.from({ length: Math.ceil(whole.length / size) }, (_, n) =>
        whole.subarray(n * size, (n + 1) * size),
      );
      expect(await verifyLog(Readable.from(pieces))).toMatchObject({ ok: true, entries: 3 });
    }
  });

  it('does not swallow a file that has no lines', async () => {
    expect(await verdictOf(Buffer.alloc(1024 * 1024, 'x'))).toMatchObject({ ok: false, at: 1 });
  });
});
