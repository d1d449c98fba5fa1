import {
  create,
  decodeStrict,
  Direction,
  type Envelope,
  KeyStatementSchema,
  type MessageInitShape,
  pae,
  PAYLOAD_TYPES,
  toBinary,
} from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { checkIssuedInTime } from '../issued-in-time.js';
import { keyRecord, type KeyRecord } from '../key-record.js';
import { KeyRing } from '../key-ring.js';
import { SigningKey } from '../signing-key.js';
import { pinSuccessor } from './believe-statements.js';
import { makeKeyStatement } from './make-key-statement.js';
import { verifyKeyStatement } from './verify-key-statement.js';

const NOW = 1_800_000_000_000;
const DAY = 24 * 3_600_000;
const [oldKey, newKey, third, root] = [1, 2, 3, 4].map((seed) =>
  SigningKey.fromSeed(new Uint8Array(32).fill(seed)),
) as [SigningKey, SigningKey, SigningKey, SigningKey];
const old = keyRecord('quay', oldKey.publicKey, ['link', 'receipt', 'command']);
const want = { keys: new KeyRing([old]), hubId: 'hub', direction: Direction.SPOKE_TO_HUB, nowMs: NOW };
const common = { old, key: newKey, by: oldKey, hubId: 'hub', direction: Direction.SPOKE_TO_HUB, nowMs: NOW };
const statement = (change: Partial<Parameters<typeof makeKeyStatement>[0]> = {}): Envelope =>
  makeKeyStatement({ ...common, oldUntilMs: NOW + DAY, ...change });
const fault = (code: string): Error => expect.objectContaining({ code }) as Error;

/** The statement with other content, signed by whom one likes. */
function altered(
  change: (payload: MessageInitShape<typeof KeyStatementSchema>) => void,
  signers: readonly SigningKey[] = [newKey, oldKey],
): Envelope {
  const payload = decodeStrict(KeyStatementSchema, statement().payload);
  change(payload);
  return signed(toBinary(KeyStatementSchema, create(KeyStatementSchema, payload)), signers);
}

function signed(payload: Uint8Array, signers: readonly SigningKey[]): Envelope {
  const payloadType = PAYLOAD_TYPES['key-statement'];
  const signatures = signers.map((key) => ({
    $typeName: 'capstan.v1.Signature' as const,
    keyId: key.keyId,
    sig: key.sign(pae(payloadType, payload)),
  }));
  return { $typeName: 'capstan.v1.Envelope', payloadType, payload, signatures };
}

describe('a key statement', () => {
  it(
    'puts a key in the place of another: same owner, same purposes, next epoch',
    proves('FED-11', () => {
      const verified = verifyKeyStatement(statement(), want);
      expect(verified.by).toBe('old-key');
      expect(verified.newKey).toEqual({ ...keyRecord('quay', newKey.publicKey, old.purposes), epoch: 2 });
      expect(verified.oldKey).toEqual({ ...old, validUntil: NOW + DAY });
    }),
  );

  it('ends the old key at once unless it says otherwise', () => {
    expect(verifyKeyStatement(statement({ oldUntilMs: 0 }), want).oldKey.validUntil).toBe(NOW);
  });

  it.each([
    ['a purpose more', (p) => p.newKey?.purposes?.push('admit')],
    ['a purpose less', (p) => p.newKey?.purposes?.pop()],
    ['a purpose that does not exist', (p) => p.newKey?.purposes?.push('everything')],
    ['another owner', (p) => p.newKey && (p.newKey.owner = 'harbor')],
    ['an epoch that stays', (p) => p.newKey && (p.newKey.epoch = 1)],
    ['an epoch that jumps', (p) => p.newKey && (p.newKey.epoch = 3)],
    ['no new key', (p) => delete p.newKey],
    ['an overlap of eight days', (p) => (p.oldUntilMs = BigInt(NOW + 8 * DAY))],
    ['an end of the old key before it was issued', (p) => (p.oldUntilMs = BigInt(NOW - 1))],
  ] satisfies [string, (payload: MessageInitShape<typeof KeyStatementSchema>) => void][])(
    'is refused with %s',
    (_what, change) => {
      expect(() => verifyKeyStatement(altered(change as never), want)).toThrow(fault('key-statement'));
    },
  );

  it('is refused where it puts the key in its own place', () => {
    const same = { keyId: old.keyId, publicKey: old.publicKey };
    const payload = altered((p) => Object.assign(p.newKey ?? {}, same), [oldKey]);
    expect(() => verifyKeyStatement(payload, want)).toThrow(fault('key-statement'));
  });

  it.each([
    ['the new key alone', [newKey]],
    ['the old key alone', [oldKey]],
    ['the new key and a stranger', [newKey, third]],
    ['nobody', []],
  ])('is refused when it is signed by %s', (_who, signers) => {
    expect(() =>
      verifyKeyStatement(
        altered(() => undefined, signers),
        want,
      ),
    ).toThrow(fault('key-statement'));
    expect(() =>
      verifyKeyStatement(
        altered(() => undefined, signers),
        { ...want, rootKey: root.publicKey },
      ),
    ).toThrow(fault('key-statement'));
  });

  it('is refused with a weak new key', () => {
    const weak = altered((p) => p.newKey && (p.newKey.publicKey = new Uint8Array(32)));
    expect(() => verifyKeyStatement(weak, want)).toThrow(fault('key-weak'));
  });

  it('is refused when the old key is not pinned, or was revoked', () => {
    expect(() => verifyKeyStatement(statement(), { ...want, keys: new KeyRing() })).toThrow(fault('key-unknown'));
    const revoked = new KeyRing([{ ...old, revokedAt: NOW - 1 }]);
    expect(() => verifyKeyStatement(statement(), { ...want, keys: revoked })).toThrow(fault('key-revoked'));
  });

  it('is refused when its time is over, or it is for another hub, or the other way', () => {
    expect(() => verifyKeyStatement(statement({ lifetimeMs: 1000 }), { ...want, nowMs: NOW + 1000 })).toThrow(
      fault('expired'),
    );
    expect(() => verifyKeyStatement(statement(), { ...want, hubId: 'other' })).toThrow(fault('wrong-audience'));
    expect(() => verifyKeyStatement(statement(), { ...want, direction: Direction.HUB_TO_SPOKE })).toThrow(
      fault('wrong-direction'),
    );
  });

  it('cannot be replayed once another key has followed, nor made by a key that was replaced', () => {
    const ring = new KeyRing([old]);
    const first = verifyKeyStatement(statement(), want);
    pinSuccessor(ring, first.newKey, first.oldKey);
    expect(() => verifyKeyStatement(statement(), { ...want, keys: ring })).toThrow(fault('key-statement'));
    // The same key signs for a second one: that is more than a mistake.
    for (const nowMs of [NOW, NOW + 2 * DAY]) {
      const keys = ring.withClock(() => nowMs);
      expect(() => verifyKeyStatement(statement({ key: third }), { ...want, keys })).toThrow(fault('key-fork'));
    }
  });

  it('brings no key back that was replaced or revoked, and none of somebody else', () => {
    const known = (record: Partial<KeyRecord>): KeyRing =>
      new KeyRing([old, { ...keyRecord('quay', newKey.publicKey, old.purposes), epoch: 2, ...record }]);
    expect(verifyKeyStatement(statement(), { ...want, keys: known({}) }).newKey.epoch).toBe(2);
    for (const record of [{ validUntil: NOW - 1 }, { revokedAt: NOW - 1 }, { owner: 'harbor' }])
      expect(() => verifyKeyStatement(statement(), { ...want, keys: known(record) })).toThrow(fault('key-statement'));
  });

  it('narrows to what its reader has pinned', () => {
    const keys = new KeyRing([{ ...old, purposes: ['receipt'] }]);
    expect(verifyKeyStatement(statement(), { ...want, keys, purposes: ['receipt'] }).newKey.purposes).toEqual([
      'receipt',
    ]);
    expect(() => verifyKeyStatement(statement(), { ...want, keys })).toThrow(fault('key-statement'));
  });
});

describe('a key statement of the root key', () => {
  const recovery = statement({ by: root, oldUntilMs: 0 });

  it(
    'replaces a key that is lost, even a revoked one, and revokes it at once',
    proves('FED-11', () => {
      const rootKey = root.publicKey;
      expect(verifyKeyStatement(recovery, { ...want, rootKey })).toMatchObject({
        by: 'root-key',
        oldKey: { revokedAt: NOW, validUntil: NOW },
        newKey: { epoch: 2 },
      });
      const keys = new KeyRing([{ ...old, revokedAt: NOW - 5 }]);
      expect(verifyKeyStatement(recovery, { ...want, keys, rootKey }).oldKey.revokedAt).toBe(NOW - 5);
    }),
  );

  it('is refused where no root key is pinned, or another', () => {
    expect(() => verifyKeyStatement(recovery, want)).toThrow(fault('key-statement'));
    expect(() => verifyKeyStatement(recovery, { ...want, rootKey: third.publicKey })).toThrow(fault('key-statement'));
  });

  it('does not make the root key itself an identity', () => {
    const itself = statement({ key: root, by: root });
    expect(() => verifyKeyStatement(itself, { ...want, rootKey: root.publicKey })).toThrow(fault('key-statement'));
    const pinned = keyRecord('quay', root.publicKey, ['root']);
    const another = statement({ old: pinned, by: root });
    expect(() => verifyKeyStatement(another, { ...want, keys: new KeyRing([pinned]) })).toThrow(fault('key-statement'));
  });
});

describe('a key whose place another has taken', () => {
  const replaced: KeyRecord = { ...old, validUntil: NOW };

  it('is revoked for what is said now, from its end on', () => {
    let nowMs = NOW - 1;
    const ring = new KeyRing([replaced], () => nowMs);
    expect(ring.get(old.keyId)?.revokedAt).toBeUndefined();
    nowMs = NOW;
    expect(ring.get(old.keyId)?.revokedAt).toBe(NOW);
    expect(ring.records()).toEqual([replaced]);
  });

  it('stands for ever for what was issued before, and for nothing after', () => {
    expect(new KeyRing([replaced]).get(old.keyId)).toEqual(replaced);
    expect(() => checkIssuedInTime(replaced, { issuedAtMs: BigInt(NOW - 1) })).not.toThrow();
    expect(() => checkIssuedInTime(replaced, { issuedAtMs: BigInt(NOW) })).toThrow(fault('key-revoked'));
  });

  it('does not live longer because somebody says so', () => {
    const ring = new KeyRing([replaced]);
    ring.add({ ...old, validUntil: NOW + DAY });
    ring.add(old);
    expect(ring.get(old.keyId)?.validUntil).toBe(NOW);
  });
});
