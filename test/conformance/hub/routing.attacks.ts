import type { Attack } from '../attack.ts';
import { command, commandPayload, type From, killBody, spawnBody, statusBody } from '../wire/commands.ts';
import { BAD_CLOCKS, BAD_PAYLOADS, BAD_SIGNATURES, type Bad } from '../wire/malformed.ts';
import { encode, hex, type Message, utf8 } from '../wire/protobuf.ts';
import { digestOf, encodeEnvelope, type Key, label, makeKey, newId, seal } from '../wire/signed.ts';
import { answerOf, type HubUnderTest, type Member, verdict, verdictOn } from './hub-under-test.ts';

type HubAttack = Attack<HubUnderTest>;

const HOUR_MS = 3_600_000;
const targets = new WeakMap<HubUnderTest, Promise<Member>>();

/** Another instance, to which the hub would route. */
function target(hub: HubUnderTest): Promise<Member> {
  const known = targets.get(hub) ?? hub.enrol();
  targets.set(hub, known);
  return known;
}

async function way(hub: HubUnderTest): Promise<{ from: From; key: Key; member: Member }> {
  const { member } = await hub.hostile();
  const { id: audience } = await target(hub);
  const from = { issuer: member.id, audience, direction: 'DIRECTION_SPOKE_TO_SPOKE' };
  return { from, key: member.key, member };
}

/** What the hub says of a command of this instance for another. */
const routed = (id: string, does: string, expect: string | string[], make: (way: Way) => Message): HubAttack => ({
  id: `hub.routing.${id}`,
  does,
  expect,
  run: async (hub) => {
    const given = await way(hub);
    return verdict((await hub.hostile()).link, make(given));
  },
});

type Way = Awaited<ReturnType<typeof way>>;

const bad = ({ id, does, expect, make }: Bad): HubAttack =>
  routed(id, `${does} (a command for another instance)`, [expect].flat(), ({ from, key }) =>
    make({ kind: 'command', type: 'Command', key, payload: commandPayload(from, statusBody(), { hop_limit: 1 }) }),
  );

const status = ({ from, key }: Way, change: Message = {}): Message =>
  command(from, key, statusBody(), { hop_limit: 1, ...change });

export const ROUTING: readonly HubAttack[] = [
  routed('unasked', 'orders another instance, which the hub has not allowed it', 'rejection:policy-peer', (way) =>
    status(way),
  ),
  routed('kill-unasked', 'orders a kill there', 'rejection:policy-peer', ({ from, key }) =>
    command(from, key, killBody(), { hop_limit: 1 }),
  ),
  routed('spawn-unasked', 'orders a spawn there', 'rejection:policy-peer', ({ from, key }) =>
    command(from, key, spawnBody(), { hop_limit: 1 }),
  ),
  ...[...BAD_SIGNATURES, ...BAD_PAYLOADS.filter(({ id }) => id !== 'audience-swap'), ...BAD_CLOCKS].map(bad),
  routed('to-nobody', 'orders an instance that there is not', 'rejection:instance-unknown', (way) =>
    status(way, { audience: 'nobody-of-that-name' }),
  ),
  routed('to-hub', 'orders the hub itself', 'rejection:wrong-audience', (way) => status(way, { audience: 'hub' })),
  routed('cycle', 'orders itself by way of the hub', 'rejection:route-cycle', (way) =>
    status(way, { audience: way.member.id }),
  ),
  routed('hop-limit', 'allows no hub', 'rejection:hop-limit', (way) => status(way, { hop_limit: 0 })),
  routed('direction-hub', 'signs in the direction of a hub', 'rejection:wrong-direction', (way) =>
    status(way, { direction: 'DIRECTION_HUB_TO_SPOKE' }),
  ),
  routed('direction-operator', 'signs in the direction of an operator', 'rejection:wrong-direction', (way) =>
    status(way, { direction: 'DIRECTION_OPERATOR_TO_SPOKE' }),
  ),
  routed('by-reaper', 'signs with the key of its reaper', 'rejection:key-purpose', (way) =>
    status({ ...way, key: way.member.reaper }),
  ),
  routed('kill-all', 'orders a kill-all, which nobody routes', 'rejection:wrong-direction', ({ from, key }) =>
    command(from, key, { kill_all: { scope: 'KILL_SCOPE_INSTANCE', epoch: 1 } }, { hop_limit: 1 }),
  ),
  routed('rearm', 'orders a re-arming, which nobody routes', 'rejection:wrong-direction', ({ from, key }) =>
    command(from, key, { rearm: { scope: 'KILL_SCOPE_INSTANCE', epoch: 1 } }, { hop_limit: 1 }),
  ),
  routed('agent-id', 'names an agent that is a path', 'rejection:id-malformed', ({ from, key }) =>
    command(from, key, statusBody('../agent'), { hop_limit: 1 }),
  ),
  routed('long-life', 'signs a status that lives for a week', ['rejection:payload-malformed'], (way) =>
    status(way, { expires_at_ms: Date.now() + 7 * 24 * HOUR_MS }),
  ),
  {
    id: 'hub.routing.somebody-else',
    does: 'sends the sound command of another instance over its own link',
    expect: 'rejection:key-unknown',
    run: async (hub) => {
      const { from } = await way(hub);
      const other = await hub.enrol();
      const theirs = command({ ...from, issuer: other.id }, other.key, statusBody(), { hop_limit: 1 });
      return verdict((await hub.hostile()).link, theirs);
    },
  },
  {
    id: 'hub.routing.operator-unknown',
    does: 'posts the command of an operator whom nobody has pinned',
    expect: 'problem:key-unknown',
    needs: 'admin',
    run: async (hub) => answerOf(await post(hub, await operatorCommand(hub, 'op-nobody', makeKey()))),
  },
  {
    id: 'hub.routing.operator-stranger',
    does: 'posts the command of an operator without a token',
    expect: 'problem:unauthorized',
    run: async (hub) => {
      const envelope = await operatorCommand(hub, 'op-nobody', makeKey());
      return answerOf(await hub.post('federation/commands', { body: { envelope: base64(envelope) } }));
    },
  },
  {
    id: 'hub.routing.operator-endorsement',
    does: 'pins an operator without his signature',
    expect: 'problem:signature-invalid',
    needs: 'admin',
    run: async (hub) => answerOf(await pin(hub, 'op-forged', makeKey(), new Uint8Array(64))),
  },
  {
    id: 'hub.routing.operator-replayed',
    does: "posts an operator's command twice, then another under its id, then one of an hour ago and one in his name by another key",
    expect: 'ok, ok, problem:replayed, problem:expired, problem:key-unknown',
    needs: 'admin',
    run: async (hub) => {
      const [id, key] = [`op-${hub.newName()}`, makeKey()];
      const pinned = answerOf(await pin(hub, id, key));
      if (pinned !== 'ok') return `pinning: ${pinned}`;
      const message = newId();
      const first = await operatorCommand(hub, id, key, { id: message });
      const issued_at_ms = Date.now() - HOUR_MS;
      const all = [
        first,
        first,
        await operatorCommand(hub, id, key, { id: message }),
        await operatorCommand(hub, id, key, { issued_at_ms, expires_at_ms: issued_at_ms + 60_000 }),
        await operatorCommand(hub, id, makeKey()),
      ];
      const got: string[] = [];
      for (const each of all) got.push(answerOf(await post(hub, each)));
      return got.join(', ');
    },
  },
  {
    id: 'hub.routing.forged-refusal',
    does: 'rejects, in its own name, a command that was sent to another instance; that one still waits',
    expect: 'PENDING',
    needs: 'admin',
    run: async (hub) => {
      const [id, key] = [`op-${hub.newName()}`, makeKey()];
      await pin(hub, id, key);
      const envelope = await operatorCommand(hub, id, key);
      const { body } = await post(hub, envelope);
      const { link } = await hub.hostile();
      link.sendMessage('control', { rejection: { digest: digestOf(envelope), code: 'expired' } });
      link.sendMessage('control', { acknowledgement: { digest: digestOf(envelope) } });
      const probe = await way(hub);
      await verdictOn(link, digestOf(status(probe)), () => undefined, 300).catch(() => undefined);
      const after = await hub.api(`federation/commands/${String(body['commandId'])}`);
      return String(after.body['state']);
    },
  },
];

async function operatorCommand(hub: HubUnderTest, issuer: string, key: Key, change: Message = {}): Promise<Message> {
  const { id: audience } = await target(hub);
  const from = { issuer, audience, direction: 'DIRECTION_OPERATOR_TO_SPOKE' };
  const payload = commandPayload(from, statusBody(), { hop_limit: 1, ...change });
  return seal('command', encode('Command', payload), key);
}

function post(hub: HubUnderTest, envelope: Message) {
  return hub.api('federation/commands', { body: { envelope: base64(envelope) } });
}

function pin(hub: HubUnderTest, id: string, key: Key, signature?: Uint8Array) {
  const possession = key.sign(label('capstan.v1.operator-key', utf8(hub.hubId), utf8(id), key.raw));
  const proof = Buffer.from(signature ?? possession).toString('base64');
  return hub.api('federation/operators', { body: { id, publicKey: hex(key.raw), signature: proof } });
}

function base64(envelope: Message): string {
  return Buffer.from(encodeEnvelope(envelope)).toString('base64');
}
