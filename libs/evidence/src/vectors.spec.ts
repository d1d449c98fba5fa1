import { readFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import nacl from 'tweetnacl';
import {
  checkPublicKey,
  handshakePae,
  keyIdOf,
  KeyRing,
  keyRecordFromJson,
  openEnvelope,
  SigningKey,
  verifyBytes,
  type HandshakeLabel,
} from '@capstan/identity';
import { CommandSchema, decodeEnvelope, Direction, fromBase64, fromHex, pae, toHex } from '@capstan/protocol';
import { toJson } from '@bufbuild/protobuf';
import { vectorFiles } from '../../../proto/vectors/generate.js';
import type { EnvelopeVectors } from '../../../proto/vectors/envelope-vectors.js';
import type { ReceiptVectors } from '../../../proto/vectors/receipt-vectors.js';
import { proves } from '../../../test/support/proves.js';
import { chainHash, GENESIS } from './chain.js';
import { parseBundle, verifyBundle } from './receipt-bundle.js';

const file = (name: string): string => readFileSync(new URL(`../../../proto/vectors/${name}`, import.meta.url), 'utf8');
const read = <T>(name: string): T => JSON.parse(file(name)) as T;

describe('vectors', () => {
  it('are those that generate.ts makes', () => {
    const made = vectorFiles();
    for (const [name, content] of Object.entries(made)) expect([name, read(name)]).toEqual([name, JSON.parse(content)]);
  });
});

describe('pae.json', () => {
  interface PaeVectors {
    dsse: { payloadType: string; payload: string; pae: string }[];
    handshake: { label: HandshakeLabel; parts: string[]; pae: string }[];
  }
  const vectors = read<PaeVectors>('pae.json');

  it('holds the bytes that are signed', () => {
    for (const v of vectors.dsse) expect(toHex(pae(v.payloadType, fromHex(v.payload)))).toBe(v.pae);
    for (const v of vectors.handshake) expect(toHex(handshakePae(v.label, ...v.parts.map(fromHex)))).toBe(v.pae);
  });

  it('never has the same bytes twice', () => {
    const all = [...vectors.dsse, ...vectors.handshake].map((v) => v.pae);
    expect(new Set(all).size).toBe(all.length);
  });
});

describe('keys.json', () => {
  const { sound, weak } = read<{
    sound: { publicKey: string; keyId: string }[];
    weak: { why: string; publicKey: string }[];
  }>('keys.json');

  it.each(sound)('takes $keyId', ({ publicKey, keyId }) => {
    expect(() => checkPublicKey(fromHex(publicKey))).not.toThrow();
    expect(keyIdOf(fromHex(publicKey))).toBe(keyId);
  });

  it.each(weak)('refuses $publicKey: $why', ({ publicKey }) => {
    expect(() => checkPublicKey(fromHex(publicKey))).toThrow(expect.objectContaining({ code: 'key-weak' }));
  });
});

describe('signatures.json', () => {
  interface SignatureVector {
    why: string;
    seed: string;
    publicKey: string;
    message: string;
    signature: string;
  }
  const { good, bad } = read<{ good: SignatureVector[]; bad: SignatureVector[] }>('signatures.json');

  it.each(good)('makes and verifies $signature, as tweetnacl does', (v) => {
    const [seed, publicKey, message, signature] = [v.seed, v.publicKey, v.message, v.signature].map(fromHex);
    const key = SigningKey.fromSeed(seed!);
    expect(toHex(key.publicKey)).toBe(v.publicKey);
    expect(toHex(key.sign(message!))).toBe(v.signature);
    expect(verifyBytes(publicKey!, message!, signature!)).toBe(true);

    const pair = nacl.sign.keyPair.fromSeed(seed!);
    expect(toHex(pair.publicKey)).toBe(v.publicKey);
    expect(toHex(nacl.sign.detached(message!, pair.secretKey))).toBe(v.signature);
    expect(nacl.sign.detached.verify(message!, signature!, publicKey!)).toBe(true);
  });

  it.each(bad)('refuses $signature: $why', (v) => {
    expect(verifyBytes(fromHex(v.publicKey), fromHex(v.message), fromHex(v.signature))).toBe(false);
  });
});

describe('envelopes.json', () => {
  const { receiver, trust, good, bad } = read<EnvelopeVectors>('envelopes.json');
  const keys = new KeyRing(trust.map(keyRecordFromJson));
  const receive = (base64: string) =>
    openEnvelope(decodeEnvelope(fromBase64(base64)), CommandSchema, {
      kind: 'command',
      purpose: 'command',
      keys,
      audience: receiver.id,
      direction: Direction.HUB_TO_SPOKE,
      nowMs: receiver.nowMs,
      skewMs: receiver.skewMs,
    });

  it.each(good)('takes $name', ({ envelope, digest, payload }) => {
    const opened = receive(envelope);
    expect(toHex(opened.digest)).toBe(digest);
    expect(toJson(CommandSchema, opened.payload)).toEqual(payload);
  });

  it.each(good)('takes $name, whose signature and digest tweetnacl and SHA-256 confirm', ({ envelope, digest }) => {
    const { payloadType, payload, signatures } = decodeEnvelope(fromBase64(envelope));
    const signed = Buffer.concat([
      Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `),
      payload,
    ]);
    const { keyId, sig } = signatures.at(-1)!;
    expect(nacl.sign.detached.verify(signed, sig, keys.get(keyId)!.publicKey)).toBe(true);
    expect(createHash('sha256').update(signed).digest('hex')).toBe(digest);
  });

  it.each(bad)('refuses $name with $code', ({ envelope, code }) => {
    expect(() => receive(envelope)).toThrow(expect.objectContaining({ name: 'WireFault', code }));
  });

  it(
    'has a vector for each fault of the stateless checks',
    proves('FED-06', () => {
      for (const { envelope, code } of bad) expect(() => receive(envelope)).toThrow(expect.objectContaining({ code }));
      expect([...new Set(bad.map(({ code }) => code))].sort()).toEqual([
        'clock-skew',
        'envelope-malformed',
        'expired',
        'id-malformed',
        'key-purpose',
        'key-revoked',
        'key-unknown',
        'payload-malformed',
        'payload-type-unknown',
        'signature-invalid',
        'signature-missing',
        'unknown-field',
        'wrong-audience',
        'wrong-direction',
        'wrong-issuer',
      ]);
    }),
  );
});

describe('receipts.json', () => {
  const { trust, good, bad } = read<ReceiptVectors>('receipts.json');
  const keys = new KeyRing(trust.map(keyRecordFromJson));

  it.each(good)('verifies offline: $name', ({ kind, bundle }) => {
    const verified = verifyBundle(parseBundle(bundle), keys);
    expect(verified).toMatchObject({ kind, issuer: 'quay', commandBound: bundle.command !== null });
    expect(verified.orderedBy).toBe(bundle.command === null ? null : 'hub');
  });

  it.each(bad)('refuses $name with $code', ({ bundle, code }) => {
    expect(() => verifyBundle(parseBundle(bundle), keys)).toThrow(expect.objectContaining({ name: 'WireFault', code }));
  });
});

describe('audit-chain.json', () => {
  it('chains records as the log does', () => {
    const { genesis, records } = read<{ genesis: string; records: { record: string; hash: string }[] }>(
      'audit-chain.json',
    );
    expect(toHex(GENESIS)).toBe(genesis);
    let hash = GENESIS;
    for (const { record, hash: expected } of records) {
      hash = chainHash(hash, new TextEncoder().encode(record));
      expect(toHex(hash)).toBe(expected);
    }
  });
});
