import type { Attack } from '../attack.ts';
import type { Wire } from '../wire/link.ts';
import { bytes, decode, encode, hex, int, type Message, message, text } from '../wire/protobuf.ts';
import { digestOf, encodeEnvelope, header, type Key, makeKey, seal } from '../wire/signed.ts';
import { observation, type Order, receipt } from './answers.ts';
import { type HubUnderTest, type Member, verdict } from './hub-under-test.ts';

type HubAttack = Attack<HubUnderTest>;

const BOTH = ['agent-1', 'agent-2'];

/** The hub stops an instance, which gets the order on its link. */
async function stopped(hub: HubUnderTest, member: Member, link: Wire, epoch = 1n): Promise<Order> {
  const body = { scope: 'instance', instance: member.id, waitMs: 0 };
  await hub.api('federation/agents/kill-all', { body });
  return link.until('kill-all', () => {
    for (const { body: sent } of link.messages) {
      const envelope = message(sent, 'envelope');
      if (!text(envelope, 'payload_type').includes('.command.')) continue;
      const command = decode('Command', bytes(envelope, 'payload'));
      if (int(message(command, 'kill_all'), 'epoch') === epoch) return { envelope, command, member, link, agentId: '' };
    }
    return undefined;
  });
}

/** What a reaper has stated of a kill-all, serialized. */
function stated({ envelope, command, member }: Order, agents: string[], change: Message = {}, key?: Key): Uint8Array {
  const { scope, scope_id, epoch } = message(command, 'kill_all');
  const payload = {
    header: header({ issuer: member.id, audience: member.id, direction: 'DIRECTION_LOCAL' }),
    command_digest: digestOf(envelope),
    scope,
    scope_id,
    epoch,
    agents,
    raised_at_ms: Date.now(),
    boot_id: 'conformance',
    ...change,
  };
  return encodeEnvelope(seal('kill-all', encode('KillAllStatement', payload), key ?? member.reaper));
}

/** The answer that names these agents, each with a death that its reaper has signed. */
function all(order: Order, agents: readonly string[], statement?: Uint8Array): Message {
  const deaths = agents.map((agent_id) => {
    const seen = observation({ ...order, agentId: agent_id });
    return { agent_id, result: { outcome: 'KILL_OUTCOME_KILLED', observation: seen } };
  });
  const epoch = int(message(order.command, 'kill_all'), 'epoch');
  return receipt(order, { killed_all: { epoch, agents: deaths, ...(statement === undefined ? {} : { statement }) } });
}

/** Whether the hub still wants it answered, and whether it keeps agents alive meanwhile: by its next heartbeat. */
async function aftermath(hub: HubUnderTest, { command, link }: Order): Promise<string> {
  const before = link.frames.length;
  const { body } = await hub.api(`federation/commands/${text(message(command, 'header'), 'id')}`);
  const next = await link.until('heartbeat', () =>
    link.frames.slice(before).find((frame) => frame.body['heartbeat'] !== undefined),
  );
  const isRenewed = bytes(message(next.body, 'heartbeat'), 'lease_renewal').length > 0;
  return `${body['settledAt'] === null ? 'open' : 'ended'}, ${isRenewed ? 'renewed' : 'not renewed'}`;
}

/** One answer to the first kill-all of an instance of its own. */
const answered = (id: string, does: string, expect: string, make: (order: Order) => Message): HubAttack => ({
  id: `hub.kill-all.${id}`,
  does,
  expect,
  needs: 'admin',
  isSlow: true,
  run: (hub) =>
    alone(hub, async (member, link) => {
      const order = await stopped(hub, member, link);
      const got = await verdict(link, make(order));
      return `${got}, ${await aftermath(hub, order)}`;
    }),
});

async function alone(hub: HubUnderTest, play: (member: Member, link: Wire) => Promise<string>): Promise<string> {
  const member = await hub.enrol();
  const link = await hub.link(member);
  try {
    return await play(member, link);
  } finally {
    await link.close();
  }
}

const SLOW_MS = 30_000;

/** Refuses without a signature, and waits until the hub has taken note of it. */
async function refusedUnsigned(hub: HubUnderTest, { envelope, command, link }: Order, code: string): Promise<string> {
  link.sendMessage('control', { rejection: { digest: digestOf(envelope), code, sentence: 'No.', retryable: false } });
  const deadline = performance.now() + SLOW_MS;
  for (;;) {
    const { body } = await hub.api(`federation/commands/${text(message(command, 'header'), 'id')}?waitMs=250`);
    const noted = (body['refusal'] as { code?: string } | undefined)?.code;
    if (noted !== undefined) return `noted:${noted}`;
    if (performance.now() > deadline) return 'not noted';
  }
}

const refused = (order: Order, code: string): Message => receipt(order, { refused: { code, sentence: 'No.' } });

/** How often the hub has given the same order on this link, and whether it has given another that stops the same. */
function given({ envelope, link }: Order): { times: number; isAnother: boolean } {
  const digest = hex(digestOf(envelope));
  const orders = link.messages
    .map(({ body }) => message(body, 'envelope'))
    .filter((each) => text(each, 'payload_type').includes('.command.'))
    .filter((each) => decode('Command', bytes(each, 'payload'))['kill_all'] !== undefined)
    .map((each) => hex(digestOf(each)));
  return {
    times: orders.filter((each) => each === digest).length,
    isAnother: orders.some((each) => each !== digest),
  };
}

/** The hub goes on with the same order. */
function again(order: Order): Promise<string> {
  const look = (): string | undefined => (given(order).times > 1 ? 'ordered again' : undefined);
  return order.link.until('the order again', look, SLOW_MS);
}

/** The hub goes on with another order that stops the same; it may have repeated the first until then. */
function anew(order: Order): Promise<string> {
  const look = (): string | undefined => (given(order).isAnother ? 'ordered anew' : undefined);
  return order.link.until('another order', look, SLOW_MS);
}

const FORGED = 'rejection:statement-invalid, open, not renewed';

export const KILL_ALLS: readonly HubAttack[] = [
  answered('honest', 'names all agents, each dead, as its reaper states', 'ack, ended, renewed', (order) =>
    all(order, BOTH, stated(order, BOTH)),
  ),
  answered('honest-empty', 'has no agents, as its reaper states', 'ack, ended, renewed', (order) =>
    all(order, [], stated(order, [])),
  ),
  answered('empty-list', 'names none and keeps its reaper out of it', 'ack, open, not renewed', (order) =>
    all(order, []),
  ),
  answered('no-statement', 'names some, and keeps to itself whether these are all', 'ack, open, not renewed', (order) =>
    all(order, BOTH),
  ),
  answered('all-left-out', 'names none of those that its reaper names', FORGED, (order) =>
    all(order, [], stated(order, BOTH)),
  ),
  answered('short-list', 'leaves out one of those that its reaper names', FORGED, (order) =>
    all(order, BOTH.slice(1), stated(order, BOTH)),
  ),
  answered('twice', 'names one twice in the place of another', FORGED, (order) =>
    all(order, ['agent-1', 'agent-1'], stated(order, BOTH)),
  ),
  answered('own-statement', 'states with the key of the spoke that there are none', FORGED, (order) =>
    all(order, [], stated(order, [], {}, order.member.key)),
  ),
  answered('stranger-statement', 'lets a stranger state that there are none', FORGED, (order) =>
    all(order, [], stated(order, [], {}, makeKey())),
  ),
  answered('other-scope', 'has its reaper stop a tenant that nobody uses', FORGED, (order) =>
    all(order, [], stated(order, [], { scope: 'KILL_SCOPE_TENANT', scope_id: 'nobody' })),
  ),
  answered('other-epoch', 'has its reaper raise another epoch', FORGED, (order) =>
    all(order, [], stated(order, [], { epoch: 9 })),
  ),
  answered('other-order', 'has its reaper stop everything for another order', FORGED, (order) =>
    all(order, [], stated(order, [], { command_digest: new Uint8Array(32).fill(7) })),
  ),
  answered('a-death', 'puts a death into the place of the statement', FORGED, (order) =>
    all(order, [], observation({ ...order, agentId: 'agent-1' })),
  ),
  {
    id: 'hub.kill-all.replayed',
    does: 'answers a kill-all with what its reaper has stated of the one before, then with that whole answer',
    expect: 'ack, rejection:statement-invalid, ack, open, not renewed',
    needs: 'admin',
    isSlow: true,
    run: (hub) =>
      alone(hub, async (member, link) => {
        const before = await stopped(hub, member, link);
        const statement = stated(before, []);
        const first = all(before, [], statement);
        const got = [await verdict(link, first)];
        const now = await stopped(hub, member, link, 2n);
        for (const each of [all(now, [], statement), first]) got.push(await verdict(link, each));
        return [...got, await aftermath(hub, now)].join(', ');
      }),
  },
  {
    id: 'hub.kill-all.refused-unsigned',
    does: 'refuses a kill-all without a signature, as if it had expired; then proves it',
    expect: 'noted:expired, open, not renewed, ordered again, ack, ended, renewed',
    needs: 'admin',
    isSlow: true,
    run: (hub) =>
      alone(hub, async (member, link) => {
        const order = await stopped(hub, member, link);
        const noted = await refusedUnsigned(hub, order, 'expired');
        const got = [noted, await aftermath(hub, order), await again(order)];
        got.push(await verdict(link, all(order, BOTH, stated(order, BOTH))), await aftermath(hub, order));
        return got.join(', ');
      }),
  },
  {
    id: 'hub.kill-all.refused-signed',
    does: 'refuses a kill-all with its signature, as if its connection had ended; then proves it',
    expect: 'ack, open, not renewed, ordered again, ack, ended, renewed',
    needs: 'admin',
    isSlow: true,
    run: (hub) =>
      alone(hub, async (member, link) => {
        const order = await stopped(hub, member, link);
        const got = [await verdict(link, refused(order, 'connection-not-active'))];
        got.push(await aftermath(hub, order), await again(order));
        got.push(await verdict(link, all(order, BOTH, stated(order, BOTH))), await aftermath(hub, order));
        return got.join(', ');
      }),
  },
  {
    id: 'hub.kill-all.refused-number',
    does: 'says with its signature that the number is wrong: it gets another order, and nothing is renewed meanwhile',
    expect: 'ack, ordered anew, ended, not renewed',
    needs: 'admin',
    isSlow: true,
    run: (hub) =>
      alone(hub, async (member, link) => {
        const order = await stopped(hub, member, link);
        const got = [await verdict(link, refused(order, 'kill-epoch')), await anew(order)];
        return [...got, await aftermath(hub, order)].join(', ');
      }),
  },
];
