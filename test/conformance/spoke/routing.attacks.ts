import type { Attack } from '../attack.ts';
import { command, killBody, statusBody } from '../wire/commands.ts';
import { bytes, decode, encode, type Message, message } from '../wire/protobuf.ts';
import { digestOf, header, type Key, makeKey, newId, seal } from '../wire/signed.ts';
import { HUB_ID } from './instance.ts';
import type { SpokeUnderTest } from './spoke-under-test.ts';

type SpokeAttack = Attack<SpokeUnderTest>;

interface Origin {
  id: string;
  key: Key;
  direction: string;
}

/** An instance of which the spoke has never heard; its owner lets it order nothing. */
function peer(): Origin {
  return { id: `peer-${newId().slice(-12)}`, key: makeKey(), direction: 'DIRECTION_SPOKE_TO_SPOKE' };
}

function operator({ operator: { id, key } }: SpokeUnderTest): Origin {
  return { id, key, direction: 'DIRECTION_OPERATOR_TO_SPOKE' };
}

function orderOf(spoke: SpokeUnderTest, origin: Origin, body = statusBody(), change: Message = {}): Message {
  return command(spoke.from(origin.direction, origin.id), origin.key, body, { hop_limit: 1, ...change });
}

export function keyRecord(owner: string, key: Key, purposes = ['command']): Message {
  return { key_id: key.id, owner, public_key: key.raw, purposes, epoch: 1 };
}

function admissionOf(
  spoke: SpokeUnderTest,
  origin: Origin,
  order: Message,
  change: Message = {},
  key = spoke.key,
): Message {
  const { expires_at_ms, issued_at_ms, ...rest } = change;
  const times = { ...(issued_at_ms === undefined ? {} : { issued_at_ms, expires_at_ms }) };
  const payload = {
    header: header({ ...spoke.from(), ...times }),
    digest: digestOf(order),
    route: [origin.id, HUB_ID],
    tenant: 'default',
    admitted_at_ms: Date.now(),
    revocation_epoch: spoke.revocationEpoch,
    origin_key: keyRecord(origin.id, origin.key),
    hop_limit: 0,
    ...rest,
  };
  return seal('admission', encode('Admission', payload), key);
}

/** A command of an operator whom the owner has pinned, with an admission that an attack has made. */
const admitted = (
  id: string,
  does: string,
  expect: string | string[],
  make: (spoke: SpokeUnderTest, origin: Origin, order: Message) => Message | undefined,
  order: Message = {},
): SpokeAttack => ({
  id: `spoke.routed.${id}`,
  does,
  expect,
  needs: 'operator',
  run: async (spoke) => {
    const origin = operator(spoke);
    const ordered = orderOf(spoke, origin, statusBody(), order);
    return spoke.routed(ordered, make(spoke, origin, ordered));
  },
});

const HOUR_MS = 3_600_000;
const INVALID = 'rejection:admission-invalid';

export const ROUTED: readonly SpokeAttack[] = [
  admitted('honest', 'routes the command of a pinned operator', 'refused:agent-unknown', (spoke, origin, order) =>
    admissionOf(spoke, origin, order),
  ),
  admitted('no-admission', 'routes it without an admission', 'rejection:admission-missing', () => undefined),
  admitted('admission-stranger', 'lets a stranger admit it', INVALID, (spoke, origin, order) =>
    admissionOf(spoke, origin, order, {}, makeKey()),
  ),
  admitted('admission-self', 'lets the origin admit it', INVALID, (spoke, origin, order) =>
    admissionOf(spoke, origin, order, {}, origin.key),
  ),
  admitted('admission-spliced', 'admits another command', INVALID, (spoke, origin) =>
    admissionOf(spoke, origin, orderOf(spoke, origin)),
  ),
  admitted('admission-command', 'puts a command in the place of the admission', INVALID, (spoke) =>
    spoke.command(statusBody()),
  ),
  admitted('admission-expired', 'admitted it an hour ago', [INVALID, 'rejection:expired'], (spoke, origin, order) =>
    admissionOf(spoke, origin, order, {
      issued_at_ms: Date.now() - HOUR_MS,
      expires_at_ms: Date.now() - HOUR_MS + 60_000,
    }),
  ),
  admitted('admission-ahead', 'admits it an hour ahead', ['rejection:clock-skew', INVALID], (spoke, origin, order) =>
    admissionOf(spoke, origin, order, {
      issued_at_ms: Date.now() + HOUR_MS,
      expires_at_ms: Date.now() + HOUR_MS + 60_000,
    }),
  ),
  admitted('origin-key-swap', 'vouches for another key than the one that signed', INVALID, (spoke, origin, order) =>
    admissionOf(spoke, origin, order, { origin_key: keyRecord(origin.id, makeKey()) }),
  ),
  admitted('route-swap', 'says that somebody else has sent it', INVALID, (spoke, origin, order) =>
    admissionOf(spoke, origin, order, { route: ['somebody', HUB_ID] }),
  ),
  admitted('route-end', 'says that another hub was the last', INVALID, (spoke, origin, order) =>
    admissionOf(spoke, origin, order, { route: [origin.id, 'another-hub'] }),
  ),
  admitted('route-cycle', 'says that it came by this very instance', 'rejection:route-cycle', (spoke, origin, order) =>
    admissionOf(spoke, origin, order, { route: [origin.id, spoke.instance?.id ?? '', HUB_ID] }),
  ),
  admitted('route-twice', 'says that it passed a hub twice', 'rejection:route-cycle', (spoke, origin, order) =>
    admissionOf(spoke, origin, order, { route: [origin.id, HUB_ID, 'between', HUB_ID] }),
  ),
  admitted('hops-many', 'says that it passed more hubs than it may', 'rejection:hop-limit', (spoke, origin, order) =>
    admissionOf(spoke, origin, order, { route: [origin.id, 'one', 'two', HUB_ID] }),
  ),
  admitted('hops-raised', 'leaves it more hubs than its origin did', 'rejection:hop-limit', (spoke, origin, order) =>
    admissionOf(spoke, origin, order, { hop_limit: 9 }),
  ),
  admitted('tenant-swap', 'admits it for another tenant', 'rejection:wrong-tenant', (spoke, origin, order) =>
    admissionOf(spoke, origin, order, { tenant: 'somebody-else' }),
  ),
  admitted(
    'revocation-older',
    'admits it under an older revocation epoch',
    'rejection:admission-older',
    (spoke, origin, order) => admissionOf(spoke, origin, order, { revocation_epoch: spoke.revocationEpoch - 1n }),
  ),
  admitted(
    'audience-swap',
    'routes what is for another instance',
    'rejection:wrong-audience',
    (spoke, origin, order) => admissionOf(spoke, origin, order),
    { audience: 'somebody-else' },
  ),
  admitted(
    'direction-swap',
    "routes an operator's command in the direction of a spoke",
    'rejection:wrong-direction',
    (spoke, origin, order) => admissionOf(spoke, origin, order),
    { direction: 'DIRECTION_SPOKE_TO_SPOKE' },
  ),
  admitted(
    'issuer-swap',
    "routes an operator's command in another's name",
    'rejection:wrong-issuer',
    (spoke, origin, order) => admissionOf(spoke, origin, order),
    { issuer: 'op-somebody' },
  ),
  admitted(
    'key-epoch',
    "routes a command of another epoch of the operator's key",
    'rejection:key-revoked',
    (spoke, origin, order) => admissionOf(spoke, origin, order),
    { key_epoch: 7 },
  ),
  {
    id: 'spoke.routed.operator-forged',
    does: 'vouches for an operator of its own making under the name of the pinned one',
    expect: 'rejection:key-unknown',
    needs: 'operator',
    run: (spoke) => routedBy(spoke, { ...operator(spoke), key: makeKey() }),
  },
  {
    id: 'spoke.routed.operator-invented',
    does: 'vouches for an operator whom nobody has pinned',
    expect: 'rejection:key-unknown',
    run: (spoke) => routedBy(spoke, { ...peer(), id: 'op-invented', direction: 'DIRECTION_OPERATOR_TO_SPOKE' }),
  },
  {
    id: 'spoke.routed.peer-unasked',
    does: 'routes the command of an instance that the owner has not let in',
    expect: ['refused:policy-peer', 'rejection:policy-peer'],
    run: (spoke) => routedBy(spoke, peer()),
  },
  {
    id: 'spoke.routed.peer-kill',
    does: 'routes the kill of an instance that the owner has not let in',
    expect: 'rejection:policy-peer',
    run: (spoke) => routedBy(spoke, peer(), killBody()),
  },
  {
    id: 'spoke.routed.hub-itself',
    does: "routes the hub's own command as if an instance had given it",
    expect: [
      'rejection:wrong-direction',
      'rejection:wrong-issuer',
      'rejection:admission-invalid',
      'rejection:key-unknown',
    ],
    run: async (spoke) => {
      const order = spoke.command(statusBody());
      return spoke.routed(order, admissionOf(spoke, { ...peer(), key: spoke.key }, order));
    },
  },
  {
    id: 'spoke.routed.kill-all',
    does: 'routes a kill-all of the pinned operator, which nobody routes',
    expect: 'rejection:wrong-direction',
    needs: 'operator',
    run: (spoke) => routedBy(spoke, operator(spoke), { kill_all: { scope: 'KILL_SCOPE_INSTANCE', epoch: 1 } }),
  },
  {
    id: 'spoke.routed.kill-clock',
    does: 'routes a kill of the pinned operator from an hour ago: no clock counts for it',
    expect: 'killed:tombstoned',
    needs: 'operator',
    run: (spoke) =>
      routedBy(spoke, operator(spoke), killBody(), {
        issued_at_ms: Date.now() - HOUR_MS,
        expires_at_ms: Date.now() - 1,
      }),
  },
  {
    id: 'spoke.routed.replayed',
    does: "repeats an operator's command under a new admission: the same receipt comes",
    expect: 'the same',
    needs: 'operator',
    run: async (spoke) => {
      const origin = operator(spoke);
      const order = orderOf(spoke, origin);
      for (let time = 0; time < 2; time += 1) await spoke.routed(order, admissionOf(spoke, origin, order));
      const ids = spoke
        .receiptsOf(order)
        .map((each) => message(decode('Receipt', bytes(each, 'payload')), 'header')['id']);
      return ids.length === 2 && new Set(ids).size === 1 ? 'the same' : `${String(ids.length)} receipts`;
    },
  },
];

async function routedBy(
  spoke: SpokeUnderTest,
  origin: Origin,
  body = statusBody(),
  change: Message = {},
): Promise<string> {
  const order = orderOf(spoke, origin, body, change);
  return spoke.routed(order, admissionOf(spoke, origin, order), body['kill'] === undefined ? 'commands' : 'kill');
}
