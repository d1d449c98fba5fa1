import { create, type Envelope, GrantSchema, toBinary } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { keyRecord } from '../key-record.js';
import { KeyRing } from '../key-ring.js';
import { signPayload } from '../signed-payload.js';
import { SigningKey } from '../signing-key.js';
import { checkGrantTime } from './command-grants.js';
import type { GrantedAct } from './grant-scope.js';
import { grantChain, type GrantInit, makeGrant, readGrant } from './make-grant.js';
import { verifyGrantChain } from './verify-grant-chain.js';

const NOW = 1_800_000_000_000;
const HOUR = 3_600_000;
const keys = {
  ada: SigningKey.generate(),
  ben: SigningKey.generate(),
  cleo: SigningKey.generate(),
  dora: SigningKey.generate(),
};
type Name = keyof typeof keys;
const pinned = new KeyRing([keyRecord('ada', keys.ada.publicKey, ['command', 'grant'])]);

const SCOPE = {
  verbs: ['agent.spawn', 'agent.status'],
  instances: ['harbor', 'quay'],
  tenants: ['default'],
  repositories: ['/srv/*'],
  budgetMicroUsd: 1_000n,
};

function grant(issuer: Name, subject: Name, over: Partial<GrantInit> = {}): Envelope {
  return makeGrant({
    ...SCOPE,
    issuer,
    key: keys[issuer],
    subject,
    subjectKey: keys[subject].publicKey,
    depth: 2,
    lifetimeMs: HOUR,
    nowMs: NOW,
    ...over,
  });
}

const SPAWN: GrantedAct = {
  verb: 'agent.spawn',
  instance: 'harbor',
  tenant: 'default',
  repository: '/srv/one',
  budgetMicroUsd: 1_000n,
};

function verify(chain: readonly Envelope[], by: Name, act: Partial<GrantedAct> = {}, ring = pinned) {
  const key = keyRecord(by, keys[by].publicKey, ['command']);
  const command = { ...SPAWN, ...act, issuer: by, key };
  return verifyGrantChain({ chain: grantChain(chain), keys: ring, command });
}

const root = grant('ada', 'ben');
const second = grant('ben', 'cleo', { parent: root, depth: 1 });
const third = grant('cleo', 'dora', { parent: second, depth: 0 });

describe('a chain of grants', () => {
  it(
    'lets its last subject do what every grant of it names, for whom it begins with',
    proves('FED-14', () => {
      expect(verify([root], 'ben')).toMatchObject({ root: 'ada', grants: [{ issuer: 'ada', subject: 'ben' }] });
      expect(verify([root, second], 'cleo').grants).toHaveLength(2);
      expect(verify([root, second, third], 'dora')).toMatchObject({ root: 'ada', grants: { length: 3 } });
    }),
  );

  it.each<[string, Partial<GrantedAct>]>([
    ['verb', { verb: 'agent.kill' }],
    ['instance', { instance: 'wharf' }],
    ['tenant', { tenant: 'other' }],
    ['repository', { repository: '/etc' }],
    ['repository outside by going up', { repository: '/srv/../etc' }],
    ['budget', { budgetMicroUsd: 1_001n }],
  ])('covers no other %s', (_, act) => {
    expect(() => verify([root], 'ben', act)).toThrow(expect.objectContaining({ code: 'grant-exceeded' }));
  });

  it.each<[string, Partial<GrantInit>]>([
    ['verbs', { verbs: ['agent.kill'] }],
    ['instances', { instances: ['wharf'] }],
    ['tenants', { tenants: ['other'] }],
    ['repositories', { repositories: ['/*'] }],
    ['a repository', { repositories: ['/etc'] }],
    ['budget', { budgetMicroUsd: 1_001n }],
    ['depth', { depth: 2 }],
    ['expiry', { lifetimeMs: HOUR + 1 }],
  ])('is refused where a grant widens %s', (_, over) =>
    proves('FED-14', () => {
      const wide = grant('ben', 'cleo', { parent: root, depth: 1, ...over });
      expect(() => verify([root, wide], 'cleo')).toThrow(expect.objectContaining({ code: 'grant-widened' }));
    })(),
  );

  it('reads * as what the grantor may, in a root as everything', () => {
    const all = grant('ada', 'ben', { instances: ['*'], tenants: ['*'], repositories: ['*'] });
    expect(() => verify([all], 'ben', { instance: 'wharf', tenant: 'x', repository: '/etc' })).not.toThrow();
    const passedOn = grant('ben', 'cleo', { parent: root, depth: 1, instances: ['*'], repositories: ['*'] });
    expect(() => verify([root, passedOn], 'cleo')).not.toThrow();
    expect(() => verify([root, passedOn], 'cleo', { instance: 'wharf' })).toThrow(
      expect.objectContaining({ code: 'grant-exceeded' }),
    );
  });

  it('allows nothing where a list is empty', () => {
    for (const over of [{ verbs: [] }, { instances: [] }, { tenants: [] }, { repositories: [] }]) {
      expect(() => verify([grant('ada', 'ben', over)], 'ben')).toThrow(
        expect.objectContaining({ code: 'grant-exceeded' }),
      );
    }
  });

  it(
    'is for its last subject and nobody else, with the key that it names',
    proves('FED-14', () => {
      expect(() => verify([root], 'cleo')).toThrow(expect.objectContaining({ code: 'grant-exceeded' }));
      expect(() => verify([root, second], 'ben')).toThrow(expect.objectContaining({ code: 'grant-exceeded' }));
      const other = keyRecord('ben', keys.dora.publicKey, ['command']);
      const command = { ...SPAWN, issuer: 'ben', key: other };
      expect(() => verifyGrantChain({ chain: grantChain([root]), keys: pinned, command })).toThrow(
        expect.objectContaining({ code: 'grant-exceeded' }),
      );
    }),
  );

  const elsewhere = grant('ada', 'ben', { budgetMicroUsd: 999_999n });
  const selfMade = grant('dora', 'ben');
  const loop = grant('ben', 'ada', { parent: root, depth: 1 });
  const himself = grant('ben', 'ben', { parent: root, depth: 1 });
  const sameKey = grant('ben', 'cleo', { parent: root, depth: 1, subjectKey: keys.ben.publicKey });
  const undelegable = grant('ada', 'ben', { depth: 0 });
  const fourth = grant('dora', 'ada', { parent: third, depth: 0 });
  it.each<[string, Envelope[], Name, string]>([
    ['without a grant', [], 'ben', 'grant-invalid'],
    ['with more than three', [root, second, third, fourth], 'ada', 'grant-invalid'],
    ['that nobody pinned here begins', [selfMade], 'ben', 'grant-invalid'],
    ['without its root', [second], 'cleo', 'grant-invalid'],
    ['with a grant spliced in under another root', [elsewhere, second], 'cleo', 'grant-invalid'],
    ['in another order', [second, root], 'ben', 'grant-invalid'],
    ['with a grant left out', [root, third], 'dora', 'grant-invalid'],
    ['that comes back to its beginning', [root, loop], 'ada', 'grant-invalid'],
    ['whose subject grants to himself', [root, himself], 'ben', 'grant-invalid'],
    ['whose subject grants to himself under another name', [root, sameKey], 'cleo', 'grant-invalid'],
    ['that goes on after a grant of depth 0', [undelegable, second], 'cleo', 'grant-invalid'],
  ])('is refused %s', (_, chain, by, code) =>
    proves('FED-14', () => {
      expect(() => verify(chain, by)).toThrow(expect.objectContaining({ code }));
    })(),
  );

  it('ends with the grant that may not be passed on', () => {
    const passedOn = grant('ben', 'cleo', { parent: undelegable, depth: 0 });
    // The subject's key has no purpose to grant.
    expect(() => verify([undelegable, passedOn], 'cleo')).toThrow(expect.objectContaining({ code: 'grant-invalid' }));
  });

  it('is refused where a key in it was revoked here', () => {
    const ring = new KeyRing([...pinned.records(), { ...keyRecord('ben', keys.ben.publicKey, []), revokedAt: NOW }]);
    expect(() => verify([root], 'ben', {}, ring)).toThrow(expect.objectContaining({ code: 'key-revoked' }));
    const gone = new KeyRing(pinned.records().map((record) => ({ ...record, revokedAt: NOW })));
    expect(() => verify([root], 'ben', {}, gone)).toThrow(expect.objectContaining({ code: 'key-revoked' }));
  });

  it('is refused where its root’s key was not pinned for grants', () => {
    const ring = new KeyRing([keyRecord('ada', keys.ada.publicKey, ['command'])]);
    expect(() => verify([root], 'ben', {}, ring)).toThrow(expect.objectContaining({ code: 'grant-invalid' }));
  });

  it('is refused where a word in it means nothing', () => {
    for (const over of [{ verbs: ['agent.*'] }, { instances: ['Harbor'] }, { budgetMicroUsd: -1n }, { depth: 3 }]) {
      expect(() => verify([grant('ada', 'ben', over)], 'ben')).toThrow(
        expect.objectContaining({ code: 'grant-invalid' }),
      );
    }
  });

  it('is refused where a grant was changed after it was signed', () => {
    const changed = { ...root, payload: Uint8Array.from(root.payload) };
    changed.payload[changed.payload.length - 1] = (changed.payload.at(-1) ?? 0) ^ 1;
    expect(() => verify([changed], 'ben')).toThrow(expect.objectContaining({ code: 'grant-invalid' }));
  });

  it('names a key that is that of its subject', () => {
    const payload = readGrant(root);
    const { subjectKey } = payload;
    const renamed = { ...payload, subjectKey: subjectKey && { ...subjectKey, owner: 'cleo' } };
    const signed = signPayload(keys.ada, 'grant', toBinary(GrantSchema, create(GrantSchema, renamed)));
    expect(() => verify([signed], 'ben')).toThrow(expect.objectContaining({ code: 'grant-invalid' }));
  });

  it(
    'holds until its first grant expires',
    proves('FED-14', () => {
      const short = grant('ben', 'cleo', { parent: root, depth: 1, lifetimeMs: 1_000 });
      const held = verify([root, short], 'cleo');
      expect(() => checkGrantTime(held, NOW + 999)).not.toThrow();
      expect(() => checkGrantTime(held, NOW + 1_000)).toThrow(expect.objectContaining({ code: 'expired' }));
      expect(() => checkGrantTime(held, NOW - 30_001)).toThrow(expect.objectContaining({ code: 'clock-skew' }));
    }),
  );
});
