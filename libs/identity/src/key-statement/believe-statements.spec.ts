import { Direction, type Envelope, WireFault } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { keyRecord, type KeyRecord } from '../key-record.js';
import { KeyRing } from '../key-ring.js';
import { SigningKey } from '../signing-key.js';
import { believeStatements } from './believe-statements.js';
import { makeKeyStatement } from './make-key-statement.js';
import { explainUnknown } from './unfollowed.js';

const NOW = 1_800_000_000_000;
const DAY = 24 * 3_600_000;
type Keys = [SigningKey, SigningKey, SigningKey, SigningKey, SigningKey];
const [one, two, three, thief, root] = [11, 12, 13, 14, 15].map((seed) =>
  SigningKey.fromSeed(new Uint8Array(32).fill(seed)),
) as Keys;
const PURPOSES = ['link', 'receipt', 'command'] as const;
const record = (key: SigningKey, epoch: number, owner = 'quay'): KeyRecord => ({
  ...keyRecord(owner, key.publicKey, PURPOSES),
  epoch,
});
const pinnedRoot = keyRecord('quay', root.publicKey, ['root']);

/** `key` in the place of `old`, which has this epoch. */
function statement(old: SigningKey, epoch: number, key: SigningKey, by = old, owner = 'quay', atMs = NOW): Envelope {
  const about = { old: record(old, epoch, owner), key, by, hubId: 'hub', direction: Direction.SPOKE_TO_HUB };
  return makeKeyStatement({ ...about, nowMs: atMs, ...(by === old ? { oldUntilMs: atMs + DAY } : {}) });
}

const toTwo = statement(one, 1, two);
const toThree = statement(two, 2, three);
const knows = (ring: KeyRing, ...keys: SigningKey[]): boolean[] =>
  keys.map(({ keyId }) => ring.get(keyId) !== undefined && ring.get(keyId)?.revokedAt === undefined);

function orders<T>(list: readonly T[]): T[][] {
  if (list.length < 2) return [[...list]];
  return list.flatMap((each, at) => orders(list.toSpliced(at, 1)).map((rest) => [each, ...rest]));
}

describe('statements that came with something to be verified', () => {
  it(
    'lead from a pinned key to the newest, in any order and more than once',
    proves('FED-11', () => {
      for (const some of orders([toTwo, toThree, toTwo])) {
        const { keys, followed, skipped } = believeStatements(new KeyRing([record(one, 1)]), some);
        expect(keys.get(three.keyId)).toMatchObject({ owner: 'quay', epoch: 3 });
        expect(keys.get(one.keyId)?.validUntil).toBe(NOW + DAY);
        expect(followed.map(({ newKey }) => newKey.keyId)).toEqual([two.keyId, three.keyId]);
        expect(skipped).toEqual([]);
      }
    }),
  );

  it('help no key that is not pinned', () => {
    expect(believeStatements(new KeyRing(), [toThree, toTwo]).keys.records()).toEqual([]);
    expect(believeStatements(new KeyRing([record(one, 1)]), [toThree]).keys.records()).toEqual([record(one, 1)]);
  });

  it('do no harm where old and new keys are pinned both, whatever epoch somebody wrote there', () => {
    const byHand = [record(two, 1), record(one, 1), record(three, 1)];
    for (const pinned of orders(byHand)) {
      const { keys, skipped } = believeStatements(new KeyRing(pinned), [toThree, toTwo]);
      expect(knows(keys, one, two, three)).toEqual([true, true, true]);
      expect(keys.get(three.keyId)?.epoch).toBe(3);
      expect(skipped).toEqual([]);
    }
  });

  it('say the same again when what they led to was kept', () => {
    const first = believeStatements(new KeyRing([record(one, 1)]), [toTwo]).keys;
    const { keys, followed } = believeStatements(new KeyRing(first.records()), [toTwo, toThree]);
    expect(followed.map(({ newKey }) => newKey.keyId)).toEqual([three.keyId]);
    expect(keys.get(one.keyId)?.validUntil).toBe(NOW + DAY);
  });

  it('narrow to what was pinned', () => {
    const receipts = { ...record(one, 1), purposes: ['receipt'] as const };
    expect(believeStatements(new KeyRing([receipts]), [toTwo]).keys.get(two.keyId)?.purposes).toEqual(['receipt']);
  });

  it.each<[string, Envelope]>([
    ['forged: the old key has not signed', statement(one, 1, two, thief)],
    ['of an epoch that jumps', statement(one, 4, two)],
    ['of an epoch that goes back', statement(one, 0, two)],
    ['of another owner', statement(one, 1, two, one, 'harbor')],
  ])('are skipped where they do not hold, and harm nobody else: %s', (_what, bad) => {
    const harbor = [record(thief, 1, 'harbor'), statement(thief, 1, root, thief, 'harbor')] as const;
    const { keys, skipped } = believeStatements(new KeyRing([record(one, 1), harbor[0]]), [bad, harbor[1]]);
    expect(knows(keys, one, two, thief, root)).toEqual([true, false, true, true]);
    expect(skipped).toEqual([{ owner: 'quay', oldKeyId: one.keyId, newKeyId: two.keyId, code: 'key-statement' }]);
  });

  it('do not go round in a loop', () => {
    const back = statement(two, 2, one);
    for (const some of orders([toTwo, back, toThree])) {
      const { keys } = believeStatements(new KeyRing([record(one, 1)]), some.slice(0, 3));
      expect(keys.get(one.keyId)).toMatchObject({ epoch: 1, validUntil: NOW + DAY });
    }
    const { keys, skipped } = believeStatements(new KeyRing([record(one, 1)]), [back, toTwo]);
    expect(knows(keys, one, two)).toEqual([true, true]);
    expect(skipped).toMatchObject([{ newKeyId: one.keyId, code: 'key-statement' }]);
  });

  it(
    'are both refused where they name two keys in the place of one',
    proves('FED-11', () => {
      const fork = statement(one, 1, thief);
      for (const some of orders([toTwo, fork, toThree])) {
        const { keys, skipped } = believeStatements(new KeyRing([record(one, 1)]), some);
        expect(knows(keys, two, thief, three)).toEqual([false, false, false]);
        expect(skipped.map(({ code }) => code)).toEqual(['key-fork', 'key-fork', 'key-fork']);
      }
      // What was followed before stays; the second is refused.
      const kept = believeStatements(new KeyRing([record(one, 1)]), [toTwo]).keys;
      const later = believeStatements(kept, [toTwo, fork]);
      expect(knows(later.keys, two, thief)).toEqual([true, false]);
    }),
  );
});

describe('statements of a root key', () => {
  const recovery = statement(one, 1, two, root);

  it(
    'are followed where the root key is pinned for its owner: the lost key is revoked',
    proves('FED-11', () => {
      const { keys, followed } = believeStatements(new KeyRing([record(one, 1), pinnedRoot]), [toThree, recovery]);
      expect(knows(keys, one, two, three)).toEqual([false, true, true]);
      expect(followed[0]?.by).toBe('root-key');
    }),
  );

  it.each<[string, KeyRecord[]]>([
    ['is not pinned', []],
    ['is pinned for somebody else', [{ ...pinnedRoot, owner: 'harbor' }]],
    ['was taken back', [{ ...pinnedRoot, revokedAt: NOW }]],
    ['is pinned for other things', [{ ...pinnedRoot, purposes: PURPOSES }]],
  ])('are skipped where it %s', (_how, further) => {
    const { keys, skipped } = believeStatements(new KeyRing([record(one, 1), ...further]), [toThree, recovery]);
    expect(knows(keys, one, two, three)).toEqual([true, false, false]);
    expect(skipped.map(({ owner, newKeyId }) => [owner, newKeyId])).toEqual([
      ['quay', two.keyId],
      ['quay', three.keyId],
    ]);
  });

  it(
    'stand above those of a thief: his key and what he put after it are revoked, also where they were followed before',
    proves('FED-11', () => {
      const stolen = statement(one, 1, thief);
      const further = statement(thief, 2, three);
      const fooled = believeStatements(new KeyRing([record(one, 1), pinnedRoot]), [stolen, further]).keys;
      expect(knows(fooled, thief, three)).toEqual([true, true]);
      for (const some of orders([stolen, further, recovery])) {
        for (const pinned of [fooled, new KeyRing([record(one, 1), pinnedRoot])]) {
          const { keys } = believeStatements(pinned, some);
          expect(knows(keys, one, two, thief, three)).toEqual([false, true, false, false]);
        }
      }
    }),
  );
});

describe('a key that is unknown', () => {
  const unknown = new WireFault('key-unknown');
  const signed = (key: SigningKey): Envelope => statement(key, 1, key);

  it('is explained to whoever pins keys, where a statement about it was skipped', () => {
    const belief = believeStatements(new KeyRing([record(one, 1)]), [statement(one, 1, two, root)]);
    const said = explainUnknown(unknown, belief, signed(two));
    expect(said).toMatchObject({
      code: 'key-unfollowed',
      sentence: expect.stringContaining('pin quay anew') as string,
    });
    expect(explainUnknown(unknown, belief, signed(three))).toBe(unknown);
    const other = new WireFault('key-revoked');
    expect(explainUnknown(other, belief, signed(two))).toBe(other);
    const forked = believeStatements(new KeyRing([record(one, 1)]), [toTwo, statement(one, 1, thief)]);
    expect(explainUnknown(unknown, forked, signed(two))).toMatchObject({ code: 'key-fork' });
  });
});
