import type { Attack } from '../attack.ts';
import { commandPayload, killBody, spawnBody, statusBody } from '../wire/commands.ts';
import { nonce } from '../wire/handshake.ts';
import type { Lane } from '../wire/link.ts';
import { BAD_CLOCKS, BAD_PAYLOADS, BAD_SIGNATURES, type Bad } from '../wire/malformed.ts';
import { bytes, encode, hex, int, join, type Message, message, rawBytes } from '../wire/protobuf.ts';
import { digestOf, newId, seal, typeOf } from '../wire/signed.ts';
import type { SpokeUnderTest } from './spoke-under-test.ts';

type SpokeAttack = Attack<SpokeUnderTest>;

const HOUR_MS = 3_600_000;

/** What becomes of one command. */
const ordered = (
  id: string,
  does: string,
  expect: string | string[],
  make: (spoke: SpokeUnderTest) => Message,
  lane: Lane = 'commands',
): SpokeAttack => ({
  id: `spoke.command.${id}`,
  does,
  expect,
  run: (spoke) => spoke.order(make(spoke), lane),
});

const bad =
  (what: string, body: () => Message, lane: Lane) =>
  ({ id, does, expect, make }: Bad): SpokeAttack => ({
    id: `spoke.${what}.${id}`,
    does: `${does} (${what})`,
    expect,
    run: (spoke) => {
      const payload = commandPayload(spoke.from(), body());
      return spoke.order(make({ kind: 'command', type: 'Command', payload, key: spoke.key }), lane);
    },
  });

/** A clock of an hour ago or ahead. */
const at = (offMs: number): Message => ({
  issued_at_ms: Date.now() + offMs,
  expires_at_ms: Date.now() + offMs + 60_000,
});

const probe = (): Message => ({ probe: { nonce: nonce() } });

export const COMMANDS: readonly SpokeAttack[] = [
  ordered('honest', 'asks for an agent that nobody has seen', 'refused:agent-unknown', (spoke) =>
    spoke.command(statusBody()),
  ),
  ...[...BAD_SIGNATURES, ...BAD_PAYLOADS, ...BAD_CLOCKS].map(bad('command', statusBody, 'commands')),
  ...[...BAD_SIGNATURES, ...BAD_PAYLOADS].map(bad('kill', killBody, 'kill')),
  ordered('direction-spoke', 'signs in the direction of a spoke', 'rejection:wrong-direction', (spoke) =>
    spoke.command(statusBody(), { direction: 'DIRECTION_SPOKE_TO_HUB' }),
  ),
  ordered('direction-local', 'signs in the direction of a reaper', 'rejection:wrong-direction', (spoke) =>
    spoke.command(statusBody(), { direction: 'DIRECTION_LOCAL' }),
  ),
  ordered(
    'direction-peer',
    "signs in the direction of another spoke, without anybody's admission",
    ['rejection:wrong-direction', 'rejection:admission-missing'],
    (spoke) => spoke.command(statusBody(), { direction: 'DIRECTION_SPOKE_TO_SPOKE' }),
  ),
  ordered('no-body', 'orders nothing', 'rejection:payload-malformed', (spoke) => spoke.command({})),
  ordered('agent-id', 'names an agent that is a path', 'rejection:id-malformed', (spoke) =>
    spoke.command(statusBody('../../etc')),
  ),
  ordered(
    'tenant-swap',
    'spawns for a tenant that the owner does not serve',
    ['refused:policy-tenant', 'refused:policy-repository'],
    (spoke) => spoke.command(spawnBody(), { tenant: 'somebody-else' }),
  ),
  ordered('repository', 'spawns on a repository that the owner does not offer', 'refused:policy-repository', (spoke) =>
    spoke.command(spawnBody()),
  ),
  ordered(
    'runtime',
    'spawns a runtime that the owner does not offer',
    ['refused:policy-runtime', 'refused:policy-repository'],
    (spoke) => spoke.command(spawnBody({ runtime: 'sh' })),
  ),
  ordered(
    'own-statement',
    "sends the spoke's own enrolment back to it",
    'rejection:payload-type-unknown',
    ({ instance }) => instance?.statement ?? {},
  ),
  ordered('type-swap', 'sends a signed command under the type of a query', 'rejection:signature-invalid', (spoke) => ({
    ...spoke.command(statusBody()),
    payload_type: typeOf('query'),
  })),
  ordered(
    'type-confusion',
    "signs a command's bytes as a query",
    ['rejection:payload-malformed', 'rejection:unknown-field'],
    (spoke) =>
      seal(
        'query',
        encode('Command', commandPayload(spoke.from(), { kill: { agent_id: 'agent-x', reason: 'r' } })),
        spoke.key,
      ),
  ),
  ordered('lease-as-command', 'sends types that are not for spokes', 'rejection:payload-type-unknown', (spoke) =>
    seal('lease', encode('Command', commandPayload(spoke.from(), statusBody())), spoke.key),
  ),
  ordered('two-bodies', 'orders a status and a kill in one', 'rejection:payload-malformed', (spoke) => {
    const payload = encode('Command', commandPayload(spoke.from(), statusBody()));
    return seal('command', join(payload, rawBytes(4, encode('KillAgent', { agent_id: 'agent-x' }))), spoke.key);
  }),
  ordered(
    'too-large',
    'sends an envelope of 1 MiB and a little',
    ['rejection:envelope-too-large', 'end:frame-too-large'],
    (spoke) => spoke.command(killBody(), { traceparent: 'x'.repeat(1_048_600) }),
  ),
  {
    id: 'spoke.command.reflected-receipt',
    does: "sends the spoke's own receipt back to it, as it is and as a command",
    expect: 'rejection:payload-type-unknown, rejection:key-unknown',
    run: async (spoke) => {
      const order = spoke.command(statusBody());
      await spoke.order(order);
      const receipt = spoke.receiptsOf(order)[0] ?? {};
      const asCommand = { ...receipt, payload_type: typeOf('command') };
      return `${await spoke.order(receipt)}, ${await spoke.order(asCommand)}`;
    },
  },
  {
    id: 'spoke.command.replayed',
    does: 'sends a command twice on one link, on the next link, and after the spoke was killed; each time the same receipt',
    expect: 'the same',
    needs: 'restart',
    run: (spoke) => replayed(spoke, spoke.command(statusBody()), 'commands'),
  },
  {
    id: 'spoke.kill.replayed',
    does: 'sends a kill twice on one link, on the next link, and after the spoke was killed; each time the same receipt',
    expect: 'the same',
    needs: 'restart',
    run: (spoke) => replayed(spoke, spoke.command(killBody(), at(-HOUR_MS)), 'kill'),
  },
  {
    id: 'spoke.command.replayed-late',
    does: 'repeats a command once it has expired: the stored receipt comes, and nothing else happens',
    expect: 'the same',
    run: async (spoke) => {
      const order = spoke.command(statusBody(), { expires_at_ms: Date.now() + 2_000 });
      await spoke.order(order);
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      await spoke.order(order);
      return sameness(spoke, order, 2);
    },
  },
  {
    id: 'spoke.command.id-again',
    does: 'uses an id for another command, and for a query',
    expect: 'refused:agent-unknown, rejection:replayed',
    run: async (spoke) => {
      const id = newId();
      return `${await spoke.order(spoke.command(statusBody(), { id }))}, ${await spoke.order(spoke.command(statusBody(), { id }))}`;
    },
  },
  {
    id: 'spoke.command.signed-again',
    does: 'repeats a command with one signature more: its digest is the same, and so is its effect',
    expect: 'the same',
    run: async (spoke) => {
      const order = spoke.command(statusBody());
      await spoke.order(order);
      const payload = bytes(order, 'payload');
      await spoke.order(seal('command', payload, spoke.operator.key, spoke.key));
      return sameness(spoke, order, 2);
    },
  },
  {
    id: 'spoke.kill.tombstone',
    does: 'kills an agent that was never seen, then spawns it',
    expect: ['killed:tombstoned, refused:policy-repository', 'killed:tombstoned, refused:tombstoned'],
    run: async (spoke) => {
      const agentId = `agent-${newId()}`;
      const killed = await spoke.order(spoke.command(killBody(agentId)), 'kill');
      return `${killed}, ${await spoke.order(spoke.command(spawnBody({ agent_id: agentId })))}`;
    },
  },
  {
    id: 'spoke.kill.clock',
    does: 'kills with a clock an hour behind and an hour ahead; for a kill no clock counts',
    expect: 'killed:tombstoned, killed:tombstoned',
    run: async (spoke) => {
      const behind = await spoke.order(spoke.command(killBody(), at(-HOUR_MS)), 'kill');
      return `${behind}, ${await spoke.order(spoke.command(killBody(), at(HOUR_MS)), 'kill')}`;
    },
  },
  {
    id: 'spoke.kill.id-again',
    does: 'uses the id of a kill for the kill of another agent',
    expect: ['killed:tombstoned, rejection:replayed', 'killed:tombstoned, killed:tombstoned'],
    run: async (spoke) => {
      const id = newId();
      const first = await spoke.order(spoke.command(killBody(), { id }), 'kill');
      return `${first}, ${await spoke.order(spoke.command(killBody(), { id }), 'kill')}`;
    },
  },
  {
    id: 'spoke.kill.probe',
    does: 'probes the way of kills, with a clock an hour behind',
    expect: 'probed',
    run: (spoke) => spoke.order(spoke.command(probe(), at(-HOUR_MS)), 'kill'),
  },
  ordered(
    'probe-short-nonce',
    'probes with a nonce of 31 bytes',
    ['rejection:payload-malformed', 'refused:payload-malformed'],
    (spoke) => spoke.command({ probe: { nonce: nonce().slice(1) } }),
    'kill',
  ),
  {
    id: 'spoke.kill.epochs',
    does: 'jumps a kill epoch, takes the next, repeats it, goes back, re-arms with an old epoch, then rightly',
    expect: ['disarmed', 'policy-repository'].map(
      (code) =>
        `refused:kill-epoch, killed_all, the same, refused:kill-epoch, refused:${code}, refused:kill-epoch, rearmed`,
    ),
    run: killEpochs,
  },
  {
    id: 'spoke.kill.overtakes',
    does: 'sends a kill behind a megabyte that never ends on the lane of commands',
    expect: 'killed:tombstoned',
    run: async (spoke) => {
      const link = await spoke.link();
      for (let part = 0; part < 50; part += 1) link.sendChunk('commands', new Uint8Array(16 * 1024), false);
      const got = await spoke.order(spoke.command(killBody()), 'kill');
      await link.close();
      return got;
    },
  },
];

async function killEpochs(spoke: SpokeUnderTest): Promise<string> {
  const tenant = 'default';
  const scope = { scope: 'KILL_SCOPE_TENANT', scope_id: tenant };
  const order = (body: Message, lane: Lane = 'kill') => spoke.order(spoke.command(body), lane);
  const now = await epochOf(spoke, tenant);
  const next = spoke.command({ kill_all: { ...scope, epoch: now + 1n } });
  const got = [await order({ kill_all: { ...scope, epoch: now + 5n } }), await spoke.order(next, 'kill')];
  await spoke.order(next, 'kill');
  got.push(sameness(spoke, next, 2), await order({ kill_all: { ...scope, epoch: now } }));
  const rightly = { context: { repository: '/nowhere', work_items: ['x'] } };
  got.push(await order(spawnBody(rightly), 'commands'));
  got.push(await order({ rearm: { ...scope, epoch: now } }, 'commands'));
  got.push(await order({ rearm: { ...scope, epoch: now + 1n } }, 'commands'));
  return got.join(', ');
}

/** As the spoke tells it in its heartbeats. */
async function epochOf(spoke: SpokeUnderTest, tenant: string): Promise<bigint> {
  const link = await spoke.link();
  const heard = link.frames.findLast(({ body }) => body['heartbeat'] !== undefined);
  const epochs = message(heard?.body ?? {}, 'heartbeat')['kill_epochs'];
  const list = Array.isArray(epochs) ? (epochs as Message[]) : [];
  return int(list.find((each) => each['scope'] === 'tenant' && each['scope_id'] === tenant) ?? {}, 'epoch');
}

async function replayed(spoke: SpokeUnderTest, order: Message, lane: Lane): Promise<string> {
  await spoke.order(order, lane);
  await spoke.order(order, lane);
  await (await spoke.link()).close();
  await spoke.order(order, lane);
  await spoke.restart();
  await spoke.order(order, lane);
  return sameness(spoke, order, 4);
}

/** Whether a command was answered so often, with one and the same receipt. */
function sameness(spoke: SpokeUnderTest, order: Message, least: number): string {
  const receipts = spoke.receiptsOf(order);
  const different = new Set(receipts.map((each) => hex(digestOf(each))));
  if (receipts.length < least) return `${String(receipts.length)} receipts`;
  return different.size === 1 ? 'the same' : `${String(different.size)} different receipts`;
}
