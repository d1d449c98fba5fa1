import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { create, decodeStrict, encodeEnvelope, SealedSchema, toBinary } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { keyRecord } from '../key-record.js';
import { KeyRing } from '../key-ring.js';
import { SigningKey } from '../signing-key.js';
import { type OpenSecretInput, openSecret, type SealInit, sealSecret } from './seal-secret.js';
import { SealingKey } from './sealing-key.js';
import { isSecretName } from './secret-name.js';

const NOW = 1_800_000_000_000;
const ada = SigningKey.generate();
const harbor = SealingKey.generate();
const senders = new KeyRing([keyRecord('ada', ada.publicKey, ['command'])]);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function seal(over: Partial<SealInit> = {}): Uint8Array {
  const init: SealInit = {
    recipient: harbor.publicKey,
    issuer: 'ada',
    sender: ada,
    audience: 'harbor',
    agentId: 'agent-1',
    name: 'DEPLOY_TOKEN',
    value: bytes('canary'),
    lifetimeMs: 60_000,
    nowMs: NOW,
  };
  return encodeEnvelope(sealSecret({ ...init, ...over }));
}

function open(sealed: Uint8Array, over: Partial<OpenSecretInput> = {}) {
  return openSecret({ sealed, key: harbor, senders, audience: 'harbor', agentId: 'agent-1', nowMs: NOW, ...over });
}

function expectUnreadable(read: () => unknown): void {
  expect(read).toThrow(expect.objectContaining({ code: 'secret-unreadable' }));
}

describe('a sealed secret', () => {
  it(
    'is read by the instance it is sealed to, and names who sealed it',
    proves('FED-16', () => {
      expect(open(seal())).toEqual({ name: 'DEPLOY_TOKEN', value: 'canary', sender: 'ada' });
    }),
  );

  it(
    'shows nothing of itself, and is another each time',
    proves('FED-16', () => {
      const [one, two] = [seal(), seal()];
      for (const part of ['canary', 'DEPLOY_TOKEN', 'agent-1', 'ada'])
        expect(Buffer.from(one).includes(part)).toBe(false);
      expect(Buffer.from(one).equals(Buffer.from(two))).toBe(false);
    }),
  );

  it.each<[string, () => unknown]>([
    ['with another key', () => open(seal({ recipient: SealingKey.generate().publicKey }))],
    ['by another instance that holds the key', () => open(seal(), { audience: 'quay' })],
    ['for another agent', () => open(seal(), { agentId: 'agent-2' })],
    ['from a stranger', () => open(seal({ sender: SigningKey.generate() }))],
    ['from somebody who signs in another’s name', () => open(seal({ issuer: 'ben' }))],
    ['from an older epoch of a key', () => open(seal({ keyEpoch: 0 }))],
    ['from a revoked key', () => open(seal(), { senders: new KeyRing([{ ...recordOf(), revokedAt: 1 }]) })],
    ['from a key for something else', () => open(seal(), { senders: new KeyRing([recordOf('receipt')]) })],
    ['that is no envelope', () => open(bytes('nothing'))],
  ])('is not read %s', (_, read) =>
    proves('FED-16', () => {
      expectUnreadable(read);
    })(),
  );

  it('is not read where any bit of it was changed', () => {
    const sealed = seal();
    fc.assert(
      fc.property(fc.nat(sealed.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Uint8Array.from(sealed);
        changed[at] = (changed[at] ?? 0) ^ change;
        expectUnreadable(() => open(changed));
      }),
    );
  });

  it('is not read under a name that it does not carry the key of', () => {
    const payload = sealSecret({
      recipient: harbor.publicKey,
      issuer: 'ada',
      sender: ada,
      audience: 'harbor',
      agentId: 'agent-1',
      name: 'X',
      value: bytes('x'),
      lifetimeMs: 1_000,
    });
    const inner = decodeStrict(SealedSchema, payload.payload);
    const other = create(SealedSchema, { ...inner, recipientKeyId: 'k-00000000000000000000000000000000' });
    expectUnreadable(() => open(encodeEnvelope({ ...payload, payload: toBinary(SealedSchema, other) })));
  });

  it('is read until it expires; once it was checked, later too', () => {
    expect(() => open(seal(), { nowMs: NOW + 60_000 })).toThrow(expect.objectContaining({ code: 'expired' }));
    const { senders: _, ...taken } = { sealed: seal(), key: harbor, audience: 'harbor', agentId: 'agent-1', senders };
    expect(openSecret({ ...taken, nowMs: NOW + 60_000 })).toMatchObject({ value: 'canary' });
  });

  it.each([
    'PATH',
    'LD_PRELOAD',
    'NODE_OPTIONS',
    'ANTHROPIC_API_KEY',
    'GIT_SSH_COMMAND',
    'BASH_ENV',
    'CAPSTAN_RUN_DIR',
  ])('is never called %s', (name) =>
    proves('FED-16', () => {
      expect(isSecretName(name)).toBe(false);
      expectUnreadable(() => seal({ name }));
    })(),
  );

  it('has a name and a value that an environment can hold', () => {
    for (const name of ['', 'lower', 'A B', 'A=B', '1A', 'A'.repeat(200)]) expect(isSecretName(name)).toBe(false);
    for (const value of [bytes('a\0b'), Uint8Array.of(0xff), new Uint8Array(40_000).fill(65)])
      expectUnreadable(() => seal({ value }));
    expect(open(seal({ value: bytes('\ufeffäöü\n') })).value).toBe('\ufeffäöü\n');
  });
});

describe('a sealing key', () => {
  it('is made once, in a file of its own that nobody else reads', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'capstan-sealing-'));
    try {
      const file = join(dir, 'sealing.key');
      const [one, two] = await Promise.all([SealingKey.loadOrCreate(file), SealingKey.loadOrCreate(file)]);
      expect(one.keyId).toBe(two.keyId);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      expect((await SealingKey.load(file)).publicKey).toEqual(one.publicKey);
      expect(await readFile(file, 'utf8')).not.toContain(Buffer.from(one.publicKey).toString('base64'));
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});

function recordOf(purpose: 'command' | 'receipt' = 'command') {
  return keyRecord('ada', ada.publicKey, [purpose]);
}
