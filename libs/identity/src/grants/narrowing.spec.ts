import fc from 'fast-check';
import type { Envelope } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { keyRecord } from '../key-record.js';
import { KeyRing } from '../key-ring.js';
import { SigningKey } from '../signing-key.js';
import { checkCovered, type GrantedAct } from './grant-scope.js';
import { grantChain, type GrantInit, makeGrant, readGrant } from './make-grant.js';
import { verifyGrantChain } from './verify-grant-chain.js';

const NAMES = ['ada', 'ben', 'cleo', 'dora'] as const;
const keys = NAMES.map(() => SigningKey.generate());
const pinned = new KeyRing([keyRecord('ada', keys[0]?.publicKey ?? new Uint8Array(), ['grant'])]);
const from = <T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
/** Mostly what a chain that holds would have. */
const mostly = <T>(usual: T, odd: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 5, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: odd });
const some = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(values, { maxLength: 3 });

const REPOSITORIES = ['*', '/*', '/srv/*', '/srv/a', '/srv/a/*', '/srv/a/b', '/srv/../*', '/srv', '/srv/a/../../etc'];
const scope = fc.record({
  verbs: mostly(['agent.spawn', 'agent.status'], some(from('agent.spawn', 'agent.status', 'agent.kill'))),
  instances: mostly(['*'], some(from('*', 'harbor', 'quay'))),
  tenants: mostly(['*'], some(from('*', 'default', 'other'))),
  repositories: mostly(['*'], some(from(...REPOSITORIES))),
  budgetMicroUsd: mostly(10n, from(0n, 5n, 11n)),
  lifetimeMs: mostly(1_000, from(500, 2_000)),
  // How many grants follow, who signs, and for whom: undefined where it is as it should be.
  depth: mostly<number | undefined>(undefined, from(0, 1, 2)),
  issuer: mostly<number | undefined>(undefined, from(0, 1, 2)),
  subject: mostly<number | undefined>(undefined, from(0, 1, 2)),
});
const act: fc.Arbitrary<GrantedAct> = fc.record({
  verb: from('agent.spawn', 'agent.status', 'agent.kill'),
  instance: from('harbor', 'quay'),
  tenant: from('default', 'other'),
  repository: from('/srv/a', '/srv/a/b', '/srv', '/etc', '/srv/../etc', '/srv/a/../../etc'),
  budgetMicroUsd: from(0n, 5n, 6n, 10n),
});

describe('grants', () => {
  it(
    'never allow, in whatever chain, what the first of them did not',
    proves('FED-14', () => {
      let allowed = 0;
      fc.assert(
        fc.property(fc.array(scope, { minLength: 1, maxLength: 3 }), act, mostly(false, from(true)), (...drawn) => {
          const [scopes, wanted, isSwapped] = drawn;
          const chain: Envelope[] = [];
          scopes.forEach(({ issuer, subject, depth, ...rest }, at) => {
            const by = issuer ?? at;
            const to = subject ?? at + 1;
            const init: GrantInit = {
              ...rest,
              depth: depth ?? 2 - at,
              issuer: NAMES[by] ?? 'ada',
              key: keys[by] ?? SigningKey.generate(),
              subject: NAMES[to] ?? 'ada',
              subjectKey: keys[to]?.publicKey ?? new Uint8Array(32),
              nowMs: 1_000_000,
            };
            const parent = chain.at(-1);
            chain.push(makeGrant(parent === undefined ? init : { ...init, parent }));
          });
          const root = chain[0];
          if (isSwapped) chain.reverse();
          NAMES.forEach((issuer, at) => {
            const key = keyRecord(issuer, keys[at]?.publicKey ?? new Uint8Array(32), ['command']);
            try {
              verifyGrantChain({ chain: grantChain(chain), keys: pinned, command: { ...wanted, issuer, key } });
            } catch {
              return;
            }
            allowed += 1;
            // Whoever begins the chain is pinned, and has himself allowed it.
            const first = chain[0] ?? root;
            if (first === undefined) throw new Error('no grant');
            expect(readGrant(first).header?.issuer).toBe('ada');
            expect(() => checkCovered(readGrant(first), wanted)).not.toThrow();
          });
        }),
        { numRuns: 300 },
      );
      expect(allowed).toBeGreaterThan(20);
    }),
    30_000,
  );
});
