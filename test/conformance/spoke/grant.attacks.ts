import type { Attack } from '../attack.ts';
import { killBody, statusBody } from '../wire/commands.ts';
import { encode, type Message, utf8 } from '../wire/protobuf.ts';
import { digestOf, encodeEnvelope, header, type Key, makeKey, seal } from '../wire/signed.ts';
import { HUB_ID } from './instance.ts';
import { keyRecord } from './routing.attacks.ts';
import type { SpokeUnderTest } from './spoke-under-test.ts';

type SpokeAttack = Attack<SpokeUnderTest>;

interface Party {
  id: string;
  key: Key;
}

const HOUR_MS = 3_600_000;
/** Of all of them: a grant that ends a millisecond after the one before it is wider. */
const ENDS_AT_MS = Date.now() + HOUR_MS;
const BOTH = ['command', 'grant'];

/** One grant, as wide as it may be, with an attack's changes. */
function grant(from: Party, to: Party, parent: Message | undefined, change: Message = {}, head: Message = {}): Message {
  const times = { issued_at_ms: Date.now() - 1_000, expires_at_ms: ENDS_AT_MS };
  const payload = {
    header: header({ issuer: from.id, audience: to.id, direction: 'DIRECTION_OPERATOR_TO_SPOKE', ...times, ...head }),
    subject: to.id,
    subject_key: keyRecord(to.id, to.key, BOTH),
    verbs: ['agent.spawn', 'agent.status', 'agent.kill'],
    instances: ['*'],
    tenants: ['*'],
    repositories: ['*'],
    budget_micro_usd: 1_000,
    depth: parent === undefined ? 2 : 1,
    ...(parent === undefined ? {} : { parent_digest: digestOf(parent) }),
    ...change,
  };
  return seal('grant', encode('Grant', payload), from.key);
}

const root = (spoke: SpokeUnderTest): Party => spoke.operator;
const hub = ({ key }: SpokeUnderTest): Party => ({ id: HUB_ID, key });
const middle = (): Party => ({ id: 'op-middle', key: makeKey() });

/** A command of the hub under a chain of grants that ends at the hub. */
const granted = (
  id: string,
  does: string,
  expect: string | string[],
  chain: (spoke: SpokeUnderTest) => readonly (Message | Uint8Array)[],
  body: () => Message = statusBody,
): SpokeAttack => ({
  id: `spoke.grant.${id}`,
  does,
  expect,
  needs: 'operator',
  run: (spoke) => {
    const grant_chain = chain(spoke).map((each) => (each instanceof Uint8Array ? each : encodeEnvelope(each)));
    const ordered = body();
    return spoke.order(spoke.command(ordered, { grant_chain }), ordered['status'] === undefined ? 'kill' : 'commands');
  },
});

/** Root → middle → hub, with changes to the second. */
function two(spoke: SpokeUnderTest, first: Message, second: Message, head: Message = {}): Message[] {
  const between = middle();
  const one = grant(root(spoke), between, undefined, first);
  return [one, grant(between, hub(spoke), one, second, head)];
}

export const GRANTS: readonly SpokeAttack[] = [
  granted('honest', 'orders under one grant of the pinned operator', 'refused:agent-unknown', (spoke) => [
    grant(root(spoke), hub(spoke), undefined),
  ]),
  granted('honest-two', 'orders under two grants', 'refused:agent-unknown', (spoke) => two(spoke, {}, {})),
  granted(
    'root-unknown',
    'begins with a grant of somebody whom nobody has pinned',
    'rejection:grant-invalid',
    (spoke) => [grant(middle(), hub(spoke), undefined)],
  ),
  granted('root-self', 'grants itself what it wants', 'rejection:grant-invalid', (spoke) => [
    grant(hub(spoke), hub(spoke), undefined),
  ]),
  granted('garbage', 'claims a chain that is none', 'rejection:grant-invalid', () => [utf8('let me')]),
  granted('expired', 'orders under a grant of an hour ago', 'rejection:expired', (spoke) => [
    grant(
      root(spoke),
      hub(spoke),
      undefined,
      {},
      { issued_at_ms: Date.now() - 2 * HOUR_MS, expires_at_ms: Date.now() - HOUR_MS },
    ),
  ]),
  granted(
    'expired-kill',
    'kills under a grant of an hour ago: no clock counts for a kill',
    'killed:tombstoned',
    (spoke) => [
      grant(
        root(spoke),
        hub(spoke),
        undefined,
        {},
        { issued_at_ms: Date.now() - 2 * HOUR_MS, expires_at_ms: Date.now() - HOUR_MS },
      ),
    ],
    killBody,
  ),
  granted('widened-verbs', 'widens the verbs', 'rejection:grant-widened', (spoke) =>
    two(spoke, { verbs: ['agent.status'] }, {}),
  ),
  granted('widened-instances', 'widens the instances', 'rejection:grant-widened', (spoke) =>
    two(spoke, { instances: [spoke.instance?.id ?? ''] }, { instances: [spoke.instance?.id ?? '', 'another'] }),
  ),
  granted('widened-tenants', 'widens the tenants', 'rejection:grant-widened', (spoke) =>
    two(spoke, { tenants: ['default'] }, { tenants: ['default', 'other'] }),
  ),
  granted(
    'widened-repositories',
    'widens the repositories by a path that leaves its prefix',
    ['rejection:grant-widened', 'rejection:grant-invalid'],
    (spoke) => two(spoke, { repositories: ['/srv/a/*'] }, { repositories: ['/srv/a/../b/*'] }),
  ),
  granted('widened-budget', 'raises the budget', 'rejection:grant-widened', (spoke) =>
    two(spoke, {}, { budget_micro_usd: 1_001 }),
  ),
  granted('widened-depth', 'does not lower the depth', 'rejection:grant-widened', (spoke) =>
    two(spoke, {}, { depth: 2 }),
  ),
  granted('widened-time', 'outlives the grant before it', 'rejection:grant-widened', (spoke) =>
    two(spoke, {}, {}, { expires_at_ms: ENDS_AT_MS + 1 }),
  ),
  granted(
    'spliced',
    'puts a grant behind another than the one that it was made for',
    'rejection:grant-invalid',
    (spoke) => {
      const between = middle();
      const [one, other] = [{}, { budget_micro_usd: 999_999 }].map((change) =>
        grant(root(spoke), between, undefined, change),
      );
      return one === undefined || other === undefined ? [] : [other, grant(between, hub(spoke), one)];
    },
  ),
  granted('beheaded', 'leaves out the first grant', 'rejection:grant-invalid', (spoke) => two(spoke, {}, {}).slice(1)),
  granted('looped', 'comes back to the operator who began', 'rejection:grant-invalid', (spoke) => {
    const between = middle();
    const one = grant(root(spoke), between, undefined);
    const two = grant(between, root(spoke), one);
    return [one, two, grant(root(spoke), hub(spoke), two, { depth: 0 })];
  }),
  granted('four', 'chains four grants', 'rejection:grant-invalid', (spoke) => {
    const parties = [root(spoke), middle(), { id: 'op-b', key: makeKey() }, { id: 'op-c', key: makeKey() }, hub(spoke)];
    const chain: Message[] = [];
    for (const [at, to] of parties.slice(1).entries())
      chain.push(grant(parties[at] ?? to, to, chain.at(-1), { depth: Math.max(0, 2 - at) }));
    return chain;
  }),
  granted('no-purpose', 'hands on what was given without the right to', 'rejection:grant-invalid', (spoke) => {
    const between = middle();
    const one = grant(root(spoke), between, undefined, {
      subject_key: keyRecord(between.id, between.key, ['command']),
    });
    return [one, grant(between, hub(spoke), one)];
  }),
  granted('key-id-swap', 'names a key by the id of another', 'rejection:grant-invalid', (spoke) => [
    grant(root(spoke), hub(spoke), undefined, {
      subject_key: { ...keyRecord(HUB_ID, spoke.key, BOTH), key_id: makeKey().id },
    }),
  ]),
  granted('small-order', 'grants to a key of small order', 'rejection:grant-invalid', (spoke) => {
    const weak = { ...keyRecord('op-weak', makeKey(), BOTH), public_key: Uint8Array.from([1, ...new Uint8Array(31)]) };
    const one = grant(root(spoke), { id: 'op-weak', key: makeKey() }, undefined, { subject_key: weak });
    return [one, grant({ id: 'op-weak', key: makeKey() }, hub(spoke), one)];
  }),
  granted('audience', 'shows a grant that was made out to somebody else', 'rejection:grant-exceeded', (spoke) => [
    grant(root(spoke), middle(), undefined),
  ]),
  granted(
    'key-swap',
    'shows a grant that was made out to another key of its own',
    'rejection:grant-exceeded',
    (spoke) => [grant(root(spoke), { id: HUB_ID, key: makeKey() }, undefined)],
  ),
  granted('verb', 'orders a status under a grant to kill', 'rejection:grant-exceeded', (spoke) => [
    grant(root(spoke), hub(spoke), undefined, { verbs: ['agent.kill'] }),
  ]),
  granted('instance', 'orders here under a grant for elsewhere', 'rejection:grant-exceeded', (spoke) => [
    grant(root(spoke), hub(spoke), undefined, { instances: ['elsewhere'] }),
  ]),
  granted('tenant', 'orders for one tenant under a grant for another', 'rejection:grant-exceeded', (spoke) => [
    grant(root(spoke), hub(spoke), undefined, { tenants: ['other'] }),
  ]),
  granted('nothing-named', 'orders under a grant that names nothing', 'rejection:grant-exceeded', (spoke) => [
    grant(root(spoke), hub(spoke), undefined, { instances: [], tenants: [] }),
  ]),
  granted(
    'kill-all',
    'orders a kill-all, which nobody can grant',
    'rejection:grant-exceeded',
    (spoke) => [grant(root(spoke), hub(spoke), undefined)],
    () => ({
      kill_all: { scope: 'KILL_SCOPE_MESH', epoch: 1_000_000 },
    }),
  ),
];
