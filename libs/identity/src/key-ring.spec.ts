import { keyRecord, keyRecordFromJson, keyRecordToJson } from './key-record.js';
import { KeyRing } from './key-ring.js';
import { SigningKey } from './signing-key.js';

const key = SigningKey.generate();
const record = keyRecord('quay', key.publicKey, ['receipt']);
const message = new TextEncoder().encode('message');

describe('KeyRing', () => {
  it('verifies with the keys that are pinned and with no other', () => {
    const ring = new KeyRing([record]);
    expect(ring.verify(key.keyId, message, key.sign(message))).toBe(true);
    expect(ring.verify(key.keyId, message, SigningKey.generate().sign(message))).toBe(false);
    expect(ring.verify(SigningKey.generate().keyId, message, key.sign(message))).toBe(false);
  });

  it('refuses a key under the id of another', () => {
    const other = SigningKey.generate().publicKey;
    expect(() => new KeyRing([{ ...record, publicKey: other }])).toThrow(
      expect.objectContaining({ code: 'key-unknown' }),
    );
  });

  it('does not see what is done to a key after it was pinned', () => {
    const publicKey = Uint8Array.from(key.publicKey);
    const ring = new KeyRing([{ ...record, publicKey }]);
    publicKey.fill(0);
    expect(ring.get(key.keyId)?.publicKey).toEqual(key.publicKey);
  });

  it('never takes a revocation back', () => {
    const ring = new KeyRing([record]);
    expect(ring.revoke(key.keyId, 17)).toBe(true);
    ring.add(record);
    ring.revoke(key.keyId, 99);
    expect(ring.get(key.keyId)?.revokedAt).toBe(17);
    expect(ring.revoke(SigningKey.generate().keyId, 17)).toBe(false);
  });
});

describe('a key record', () => {
  it('comes back from JSON as it was', () => {
    for (const one of [record, { ...record, epoch: 3, revokedAt: 17 }]) {
      expect(keyRecordFromJson(JSON.parse(JSON.stringify(keyRecordToJson(one))))).toEqual(one);
    }
  });

  it.each([
    ['no object', null],
    ['an owner that is no id', { ...keyRecordToJson(record), owner: 'a:b' }],
    ['the id of another key', { ...keyRecordToJson(record), keyId: `k-${'0'.repeat(32)}` }],
    ['a purpose that does not exist', { ...keyRecordToJson(record), purposes: ['receipt', 'everything'] }],
    ['a short key', { ...keyRecordToJson(record), publicKey: 'abcd' }],
    ['an epoch that is no number', { ...keyRecordToJson(record), epoch: '1' }],
    ['a revocation that is no time', { ...keyRecordToJson(record), revokedAt: null }],
  ])('is refused with %s', (_what, json) => {
    expect(() => keyRecordFromJson(json)).toThrow(expect.objectContaining({ code: 'key-record-malformed' }));
  });
});
