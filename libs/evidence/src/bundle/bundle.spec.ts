import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { keyRecord, KeyRing, SigningKey } from '@capstan/identity';
import type { Envelope } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { AuditLog } from '../audit-log.js';
import { signTreeHead } from '../heads/tree-head.js';
import { LogReader } from '../log-reader.js';
import { type AuditVerdict, verifyAuditBundle } from './verify-bundle.js';
import { bundleLines } from './write-bundle.js';

const key = SigningKey.generate();
const keys = new KeyRing([keyRecord('quay', key.publicKey, ['link', 'receipt'])]);
const SIZE = 9;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'capstan-bundle-'));
});
afterAll(() => rm(dir, { recursive: true }));

/** A log whose records from `forgedFrom` on are others; `heads` are what its owner signed at each size. */
async function logOf(size: number, forgedFrom = Infinity): Promise<{ file: string; heads: Envelope[] }> {
  const file = join(dir, `${String(size)}-${String(forgedFrom)}.log`);
  await rm(file, { force: true });
  const heads: Envelope[] = [];
  await using log = await AuditLog.open(file, { clock: () => 1_767_323_045_678 });
  for (let n = 1; n <= size; n++) {
    const subject = n < forgedFrom ? `agent-${String(n)}` : 'another-agent';
    await log.append({ kind: 'command.accepted', subject, detail: { n, text: 'é\n' } });
    heads.push(headOf(log.tree.size, log.tree.root()));
  }
  return { file, heads };
}

function headOf(size: number, root: Uint8Array, signer = key): Envelope {
  return signTreeHead({ key: signer, owner: 'instance', logId: 'quay', audience: 'hub', size, root, nowMs: 1 });
}

async function bundleOf(file: string, from = 1, to?: number): Promise<Buffer> {
  const log = await LogReader.open(file);
  const { tree } = log;
  const source = {
    head: headOf(tree.size, tree.root()),
    size: tree.size,
    compactRange: (size: number) => tree.compactRange(size),
    consistencyProof: (a: number, b: number) => tree.consistencyProof(a, b),
    hashOf: (sequence: number) => log.hashOf(sequence),
    lines: (a: number, b: number) => log.lines(a, b),
  };
  const lines: string[] = [];
  for await (const line of bundleLines(source, from, to ?? tree.size)) lines.push(line);
  return Buffer.from(lines.join(''));
}

async function verdictOf(bytes: Buffer, witness: Envelope[] = [], trusted = keys): Promise<AuditVerdict> {
  return verifyAuditBundle({ source: Readable.from([bytes]), keys: trusted, witness });
}

/** Whether the bundle was found to be wrong, one way or the other. */
async function isDetected(bytes: Buffer): Promise<boolean> {
  try {
    return !(await verdictOf(bytes)).ok;
  } catch (error) {
    return (error as { code?: string }).code === 'bundle-malformed';
  }
}

const linesOf = (bytes: Buffer): Buffer[] =>
  bytes
    .toString('latin1')
    .split(/(?<=\n)/)
    .map((line) => Buffer.from(line, 'latin1'));

describe('an audit bundle', () => {
  let whole: Buffer;
  let part: Buffer;
  let heads: Envelope[];

  beforeAll(async () => {
    const log = await logOf(SIZE);
    heads = log.heads;
    whole = await bundleOf(log.file);
    part = await bundleOf(log.file, 4, 6);
  });

  it(
    'verifies whole and in part, with no network and pinned keys only',
    proves('FED-18', async () => {
      expect(await verdictOf(whole, heads)).toMatchObject({ ok: true, from: 1, to: SIZE, agreed: SIZE, beyond: 0 });
      expect(await verdictOf(part)).toMatchObject({ ok: true, from: 4, to: 6, head: { logId: 'quay', size: SIZE } });
      for (let from = 1; from <= SIZE; from++) {
        for (let to = from; to <= SIZE; to++) {
          const bytes = await bundleOf(join(dir, '9-Infinity.log'), from, to);
          expect(await verdictOf(bytes, heads)).toMatchObject({
            ok: true,
            agreed: to - from + 2 - (from === 1 ? 1 : 0),
          });
        }
      }
    }),
  );

  it(
    'is refused with any byte changed, anywhere in it',
    proves('FED-18', async () => {
      for (const bundle of [whole, part]) {
        for (let at = 0; at < bundle.length; at++) {
          for (const bit of [0x01, 0x20]) {
            const forged = Buffer.from(bundle);
            forged[at] = (forged[at] ?? 0) ^ bit;
            if (!(await isDetected(forged)))
              throw new Error(`byte ${String(at)} of ${bundle.toString('latin1', at - 20, at + 20)}`);
          }
        }
      }
    }),
    60_000,
  );

  it(
    'names the first record that was changed, dropped, doubled, swapped or appended, and why',
    proves('FED-18', async () => {
      const [header, ...records] = linesOf(whole);
      const bundle = (...lines: (Buffer | undefined)[]) =>
        Buffer.concat([header, ...lines].filter((line) => line !== undefined));
      for (let index = 0; index < SIZE; index++) {
        const [before, line, after] = [records.slice(0, index), records[index], records.slice(index + 1)];
        const record = index + 1;
        const changed = Buffer.from(line?.toString('latin1').replace('accepted', 'Accepted') ?? '', 'latin1');
        expect(await verdictOf(bundle(...before, changed, ...after))).toMatchObject({
          ok: false,
          flaw: 'chain',
          record,
        });
        const [next, ...rest] = after;
        const dropped = next === undefined ? { flaw: 'truncated', record } : { flaw: 'sequence', record };
        expect(await verdictOf(bundle(...before, ...after))).toMatchObject({ ok: false, ...dropped });
        const doubled = { flaw: next === undefined ? 'surplus' : 'sequence', record: record + 1 };
        expect(await verdictOf(bundle(...before, line, line, ...after))).toMatchObject({ ok: false, ...doubled });
        if (next === undefined) continue;
        const swapped = { flaw: 'sequence', record };
        expect(await verdictOf(bundle(...before, next, line, ...rest))).toMatchObject({ ok: false, ...swapped });
      }
      const cut = whole.subarray(0, whole.length - 1);
      expect(await verdictOf(cut)).toMatchObject({ ok: false, flaw: 'truncated', record: SIZE });
      const more = (await bundleOf((await logOf(SIZE + 1)).file)).subarray(-1);
      expect(more).toHaveLength(1);
      const surplus = linesOf(await bundleOf((await logOf(SIZE + 1)).file)).slice(-1);
      expect(await verdictOf(bundle(...records, ...surplus))).toMatchObject({
        ok: false,
        flaw: 'surplus',
        record: SIZE + 1,
      });
    }),
  );

  it(
    'is refused where its records were chained anew under the old head',
    proves('FED-18', async () => {
      const [header] = linesOf(whole);
      const [, ...forged] = linesOf(await bundleOf((await logOf(SIZE, 5)).file));
      const bundle = Buffer.concat([header ?? Buffer.alloc(0), ...forged]);
      expect(await verdictOf(bundle)).toMatchObject({ ok: false, flaw: 'root', record: 1 });
      expect(await verdictOf(bundle, heads.slice(0, 4))).toMatchObject({ ok: false, flaw: 'root', record: 5 });
    }),
  );

  it(
    'that its owner has written anew and signed anew is caught by the heads that the other side kept',
    proves('FED-18', async () => {
      const forged = await bundleOf((await logOf(SIZE, 5)).file);
      expect(await verdictOf(forged)).toMatchObject({ ok: true });
      expect(await verdictOf(forged, heads)).toMatchObject({ ok: false, flaw: 'witness', record: 5 });
      const kept = [3, 7].map((size) => heads[size - 1]).filter((head) => head !== undefined);
      expect(await verdictOf(forged, kept)).toMatchObject({ ok: false, flaw: 'witness', record: 4 });
      const shorter = await bundleOf((await logOf(6)).file);
      expect(await verdictOf(shorter)).toMatchObject({ ok: true });
      expect(await verdictOf(shorter, heads)).toMatchObject({ ok: false, flaw: 'witness', record: 7 });
    }),
  );

  it('believes no head that is not signed by a pinned key of the log’s owner', async () => {
    const stranger = SigningKey.generate();
    const unsigned = { ok: false, flaw: 'head-signature', record: null };
    expect(await verdictOf(whole, [], new KeyRing())).toMatchObject(unsigned);
    const wrongPurpose = new KeyRing([keyRecord('quay', key.publicKey, ['observe'])]);
    expect(await verdictOf(whole, [], wrongPurpose)).toMatchObject(unsigned);
    const another = new KeyRing([keyRecord('harbor', key.publicKey, ['receipt'])]);
    expect(await verdictOf(whole, [], another)).toMatchObject(unsigned);
    const forgedWitness = [headOf(3, new Uint8Array(32), stranger)];
    expect(await verdictOf(whole, forgedWitness)).toMatchObject({ ok: false, flaw: 'witness-signature', record: null });
  });

  it('takes no head of another log for a witness', async () => {
    const other = SigningKey.generate();
    const both = new KeyRing([...keys.records(), keyRecord('harbor', other.publicKey, ['receipt'])]);
    const head = signTreeHead({
      key: other,
      owner: 'instance',
      logId: 'harbor',
      audience: 'hub',
      size: 3,
      root: new Uint8Array(32),
      nowMs: 1,
    });
    expect(await verdictOf(whole, [head], both)).toMatchObject({ ok: false, flaw: 'witness-signature' });
  });

  it.each(['', '{}', 'null', '{"version":2,"kind":"capstan.audit"}', '[]'])('is not %j', async (text) => {
    await expect(verdictOf(Buffer.from(`${text}\n`))).rejects.toMatchObject({ code: 'bundle-malformed' });
  });

  it('is made of what is whole in a log that is being written', async () => {
    const { file } = await logOf(3, 99);
    await appendFile(file, (await readFile(file)).subarray(0, 40));
    expect(await verdictOf(await bundleOf(file))).toMatchObject({ ok: true, to: 3 });
    const bytes = await readFile(file);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    await writeFile(file, bytes);
    await expect(LogReader.open(file)).rejects.toMatchObject({ code: 'audit-damaged' });
  });
});
