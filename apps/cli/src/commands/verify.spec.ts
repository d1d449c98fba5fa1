import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeBundle, type ReceiptBundle } from '@capstan/evidence';
import { envelopeDigest, KeyRing, keyRecord, keyRecordToJson, saveTrust, SigningKey } from '@capstan/identity';
import { fromBase64, KillOutcome, toBase64 } from '@capstan/protocol';
import { command, KILL, observation, receipt, trust } from '../../../../proto/vectors/world.js';
import { proves } from '../../../../test/support/proves.js';
import { runCli } from '../run-cli.js';

const kill = command(KILL);
const digest = envelopeDigest(kill);
const bundle = makeBundle({
  command: kill,
  receipt: receipt(digest, {
    result: { case: 'killed', value: { outcome: KillOutcome.KILLED, observation: observation(digest) } },
  }),
});

describe('capstan verify', () => {
  let directory: string;
  let trustFile: string;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'capstan-verify-'));
    trustFile = join(directory, 'trust.json');
    await saveTrust(trustFile, trust());
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  async function verify(
    content: unknown,
    trusted = trustFile,
  ): Promise<{ code: number; answer: Record<string, unknown> }> {
    const file = join(directory, 'receipt.json');
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
    let out = '';
    const code = await runCli(['verify', file, '--trust', trusted, '--json'], {
      out: { write: (text) => (out += text) },
      err: { write: () => undefined },
    });
    return { code, answer: JSON.parse(out) as Record<string, unknown> };
  }

  it(
    'accepts a receipt that nobody touched, and shows what was observed',
    proves(['FED-18', 'CLI-01'], async () => {
      expect(await verify(bundle)).toMatchObject({
        code: 0,
        answer: {
          version: 1,
          kind: 'capstan.verified',
          receipt: {
            kind: 'killed',
            issuer: 'quay',
            commandBound: true,
            observation: { outcome: 'killed', verified: true },
          },
        },
      });
    }),
  );

  it(
    'refuses it with any byte of the receipt changed',
    proves('FED-18', async () => {
      const bytes = fromBase64(bundle.receipt);
      for (let at = 0; at < bytes.length; at += 7) {
        const forged = Uint8Array.from(bytes);
        forged[at] = (forged[at] ?? 0) ^ 1;
        expect({ at, code: (await verify({ ...bundle, receipt: toBase64(forged) })).code }).toEqual({ at, code: 1 });
      }
    }),
  );

  it('refuses it with another command than the one it answers', async () => {
    const other = makeBundle({
      command: command({ case: 'status', value: { agentId: 'agent-1' } }),
      receipt: receipt(digest, {}),
    });
    expect(await verify({ ...bundle, command: other.command })).toMatchObject({
      code: 1,
      answer: { error: { code: 'receipt-mismatch' } },
    });
  });

  it('trusts no key that comes with the file, and none that is not pinned', async () => {
    const stranger = join(directory, 'stranger.json');
    await saveTrust(
      stranger,
      new KeyRing([keyRecord('quay', SigningKey.generate().publicKey, ['receipt', 'observe'])]),
    );
    const withKeys = { ...bundle, keys: trust().records().map(keyRecordToJson), trust: trustFile };
    expect(await verify(withKeys, stranger)).toMatchObject({ code: 1, answer: { error: { code: 'key-unknown' } } });
  });

  it.each<[string, unknown]>([
    ['bundle-malformed', ''],
    ['bundle-malformed', '{'],
    ['bundle-malformed', []],
    ['bundle-malformed', { ...bundle, version: 2 }],
    ['bundle-malformed', { ...bundle, receipt: 'AAAA' } satisfies ReceiptBundle],
    ['bundle-malformed', { ...bundle, receipt: '***' }],
  ])('says %s of what is no receipt: %#', async (code, content) => {
    expect(await verify(content)).toMatchObject({ code: 1, answer: { error: { code } } });
  });

  it('says so where the file or the trust file is missing', async () => {
    expect(await verify(bundle, join(directory, 'nowhere'))).toMatchObject({
      code: 1,
      answer: { error: { code: 'trust-file-missing' } },
    });
    const silent = { write: () => undefined };
    expect(await runCli(['verify', join(directory, 'gone'), '--trust', trustFile], { out: silent, err: silent })).toBe(
      3,
    );
  });
});
