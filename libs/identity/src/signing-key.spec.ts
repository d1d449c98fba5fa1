import { chmod, chown, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { generateKeyPairSync } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { proves } from '../../../test/support/proves.js';
import { SigningKey } from './signing-key.js';
import { verifyBytes } from './verify-bytes.js';

const localFault = (code: string): unknown => expect.objectContaining({ name: 'LocalFault', code });

describe('SigningKey', () => {
  it('signs what tweetnacl verifies, and verifies what tweetnacl signs', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ maxLength: 300 }),
        (seed, message) => {
          const key = SigningKey.fromSeed(seed);
          const pair = nacl.sign.keyPair.fromSeed(seed);
          expect(nacl.sign.detached.verify(message, key.sign(message), pair.publicKey)).toBe(true);
          expect(verifyBytes(key.publicKey, message, nacl.sign.detached(message, pair.secretKey))).toBe(true);
        },
      ),
      { numRuns: 20 },
    );
  });

  it('makes no signature that fits another message or that survives a flipped bit', () => {
    const key = SigningKey.generate();
    const message = new TextEncoder().encode('kill agent-1');
    const signature = key.sign(message);
    for (let bit = 0; bit < 512; bit++) {
      const flipped = Uint8Array.from(signature);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(verifyBytes(key.publicKey, message, flipped)).toBe(false);
    }
    expect(verifyBytes(key.publicKey, new TextEncoder().encode('kill agent-2'), signature)).toBe(false);
    expect(verifyBytes(key.publicKey.subarray(1), message, signature)).toBe(false);
  });

  it('shows no private half when it is printed or serialized', () => {
    expect(Object.keys(JSON.parse(JSON.stringify(SigningKey.generate())) as object).sort()).toEqual([
      'keyId',
      'publicKey',
    ]);
  });
});

describe('a key file', () => {
  let dir: string;
  let file: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'capstan-key-'));
    file = join(dir, 'identity.key');
  });
  afterEach(() => rm(dir, { recursive: true }));

  it(
    'is made at first start, readable by its owner only, and holds the same key ever after',
    proves('FED-01', async () => {
      const first = await SigningKey.loadOrCreate(file);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      const again = await SigningKey.loadOrCreate(file);
      expect(again.keyId).toBe(first.keyId);
      const message = Uint8Array.of(1, 2, 3);
      expect(verifyBytes(first.publicKey, message, again.sign(message))).toBe(true);
      expect(await readdir(dir)).toEqual(['identity.key']);
    }),
  );

  it.each([0o640, 0o604, 0o620, 0o660, 0o644])('is refused with mode %o', async (mode) => {
    await SigningKey.create(file);
    await chmod(file, mode);
    await expect(SigningKey.load(file)).rejects.toThrow(localFault('key-file-open') as Error);
    await expect(SigningKey.loadOrCreate(file)).rejects.toThrow(localFault('key-file-open') as Error);
  });

  it('is refused when another user owns it', async () => {
    if (process.geteuid?.() !== 0) return;
    await SigningKey.create(file);
    await chown(file, 12_345, 12_345);
    await expect(SigningKey.load(file)).rejects.toThrow(localFault('key-file-open') as Error);
  });

  it('is never overwritten', async () => {
    await SigningKey.create(file);
    const before = await readFile(file, 'utf8');
    await expect(SigningKey.create(file)).rejects.toThrow(localFault('key-file-exists') as Error);
    expect(await readFile(file, 'utf8')).toBe(before);
    expect(await readdir(dir)).toEqual(['identity.key']);
  });

  it('gives everybody the same key when many start at once', async () => {
    const keys = await Promise.all(Array.from({ length: 10 }, () => SigningKey.loadOrCreate(file)));
    expect(new Set(keys.map(({ keyId }) => keyId)).size).toBe(1);
  });

  it('is refused when it is missing', async () => {
    await expect(SigningKey.load(file)).rejects.toThrow(localFault('key-file-missing') as Error);
  });

  const pem = (type: 'rsa' | 'x25519'): string =>
    type === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
          .privateKey.export({ format: 'pem', type: 'pkcs8' })
          .toString()
      : generateKeyPairSync('x25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();

  it.each([
    ['nothing', ''],
    ['no key', 'hello'],
    ['another algorithm', pem('x25519')],
    ['an RSA key', pem('rsa')],
    ['far too much', 'x'.repeat(5000)],
  ])('is refused when it holds %s', async (_what, content) => {
    await writeFile(file, content, { mode: 0o600 });
    await expect(SigningKey.load(file)).rejects.toThrow(localFault('key-file-malformed') as Error);
  });

  it('is refused when it is a link to somewhere else', async () => {
    await SigningKey.create(join(dir, 'other.key'));
    await symlink('other.key', file);
    await expect(SigningKey.load(file)).rejects.toThrow(localFault('key-file-malformed') as Error);
    await expect(SigningKey.create(file)).rejects.toThrow(localFault('key-file-exists') as Error);
  });
});
