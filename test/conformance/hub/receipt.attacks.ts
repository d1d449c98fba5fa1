import type { Attack } from '../attack.ts';
import { bytes, encode, type Message, message, text, utf8 } from '../wire/protobuf.ts';
import { digestOf, encodeEnvelope, header, type Key, makeKey, newId, seal } from '../wire/signed.ts';
import { observation, type Order, order, receipt } from './answers.ts';
import { type HubUnderTest, verdict } from './hub-under-test.ts';

type HubAttack = Attack<HubUnderTest>;

/** The hub orders a kill of an agent that nobody has seen. */
async function killOrder(hub: HubUnderTest, agentId = `agent-${newId()}`): Promise<Order> {
  const { member, link } = await hub.hostile();
  await hub.api(`federation/agents/${agentId}/kill`, { body: { instance: member.id, waitMs: 0 } });
  return order(link, member, 'kill', agentId);
}

const killed = (seen?: Uint8Array, outcome = 'KILL_OUTCOME_KILLED'): Message => ({
  killed: { outcome, ...(seen === undefined ? {} : { observation: seen }) },
});

/** One forged answer to a kill. */
const forged = (id: string, does: string, expect: string | string[], make: (order: Order) => Message): HubAttack => ({
  id: `hub.receipt.${id}`,
  does,
  expect,
  needs: 'admin',
  run: async (hub) => {
    const given = await killOrder(hub);
    return verdict(given.link, make(given));
  },
});

export const RECEIPTS: readonly HubAttack[] = [
  forged('key-unknown', 'answers a kill with a key that nobody has pinned', 'rejection:key-unknown', (order) =>
    receipt(order, killed(observation(order)), {}, makeKey()),
  ),
  forged('by-reaper', 'answers a kill with the key of its reaper', 'rejection:key-purpose', (order) =>
    receipt(order, killed(observation(order)), {}, order.member.reaper),
  ),
  forged('no-observation', 'claims a death that nobody has observed', 'rejection:observation-missing', (order) =>
    receipt(order, killed()),
  ),
  forged('own-observation', 'observes a death with the key of the spoke', 'rejection:observation-invalid', (order) =>
    receipt(order, killed(observation(order, {}, order.member.key))),
  ),
  forged('stranger-observation', 'lets a stranger observe it', 'rejection:observation-invalid', (order) =>
    receipt(order, killed(observation(order, {}, makeKey()))),
  ),
  forged('other-agent', 'observes the death of another agent', 'rejection:observation-invalid', (order) =>
    receipt(order, killed(observation(order, { agent_id: 'agent-other' }))),
  ),
  forged('other-order', 'observes a death that another command had ordered', 'rejection:observation-invalid', (order) =>
    receipt(order, killed(observation(order, { command_digest: new Uint8Array(32).fill(5) }))),
  ),
  forged('nothing-gone', 'observes a death and names nothing that is gone', 'rejection:observation-invalid', (order) =>
    receipt(order, killed(observation(order, { processes: [], pid_namespace: 0, cgroup: '' }))),
  ),
  forged(
    'outcome-differs',
    'claims killed where the reaper saw a tombstone',
    'rejection:observation-invalid',
    (order) => receipt(order, killed(observation(order, { outcome: 'KILL_OUTCOME_TOMBSTONED' }))),
  ),
  forged(
    'other-instance',
    'says in the observation that another instance saw it',
    'rejection:observation-invalid',
    (order) => {
      const local = { issuer: 'somebody', audience: 'somebody', direction: 'DIRECTION_LOCAL' };
      return receipt(order, killed(observation(order, { header: header(local) })));
    },
  ),
  forged('garbage', 'puts garbage in the place of an observation', 'rejection:observation-invalid', (order) =>
    receipt(order, killed(utf8('it is dead, believe me'))),
  ),
  forged('unspecified', 'answers a kill with no outcome', 'rejection:payload-malformed', (order) =>
    receipt(order, killed(observation(order), 'KILL_OUTCOME_UNSPECIFIED')),
  ),
  forged('no-result', 'answers with no result', 'rejection:payload-malformed', (order) => receipt(order, {})),
  forged('wrong-kind', 'answers a kill as if it had been a status', 'rejection:receipt-mismatch', (order) =>
    receipt(order, { status: { agent_id: order.agentId, state: 'AGENT_STATE_KILLED', revision: 9 } }),
  ),
  forged('digest', "names the command's id with another digest", 'rejection:receipt-mismatch', (order) => {
    const command_digest = new Uint8Array(32).fill(3);
    return receipt(order, killed(observation(order, { command_digest })), { command_digest });
  }),
  forged('unknown-command', 'refuses a command that nobody gave', 'rejection:receipt-mismatch', (order) =>
    receipt(order, { refused: { code: 'agent-unknown', sentence: '' } }, { command_id: newId() }),
  ),
  forged('other-issuer', 'says that somebody else has ordered it', 'rejection:receipt-mismatch', (order) =>
    receipt(order, killed(observation(order)), { command_issuer: 'somebody' }),
  ),
  forged(
    'agent-swap',
    'answers for another agent',
    ['rejection:receipt-mismatch', 'rejection:observation-invalid'],
    (order) => receipt({ ...order, agentId: 'agent-other' }, killed(observation({ ...order, agentId: 'agent-other' }))),
  ),
  forged(
    'reflected',
    'sends the command back under the type of a receipt',
    'rejection:key-unknown',
    ({ envelope }) => ({
      ...envelope,
      payload_type: 'application/vnd.capstan.receipt.v1+protobuf',
    }),
  ),
  forged('unconfirmed', 'says that it cannot confirm: believed, and settles nothing', 'ack', (order) =>
    receipt(order, killed(undefined, 'KILL_OUTCOME_UNCONFIRMED')),
  ),
  {
    id: 'hub.receipt.another-instance',
    does: "answers another instance's command with its own sound keys",
    expect: 'rejection:receipt-mismatch',
    needs: 'admin',
    run: async (hub) => {
      const other = await hub.enrol();
      const link = await hub.link(other);
      const given = await killOrder(hub);
      const theirs = { ...given, member: other, link };
      const got = await verdict(link, receipt(theirs, killed(observation(theirs))));
      await link.close();
      return got;
    },
  },
  {
    id: 'hub.receipt.late',
    does: 'forges a death, proves it, repeats the proof, then takes it back, all for one kill',
    expect: 'rejection:observation-missing, ack, ack, ack, killed',
    needs: 'admin',
    run: async (hub) => {
      const given = await killOrder(hub);
      const proof = receipt(given, killed(observation(given)));
      const late = receipt(given, killed(undefined, 'KILL_OUTCOME_UNCONFIRMED'));
      const got: string[] = [];
      for (const each of [receipt(given, killed()), proof, proof, late]) got.push(await verdict(given.link, each));
      const id = text(message(given.command, 'header'), 'id');
      const { body } = await hub.api(`federation/commands/${id}`);
      const { state, receipts } = body as { state?: string; receipts?: { kind?: string }[] };
      return [...got, state === 'DELIVERED' ? (receipts?.[0]?.kind ?? 'none') : String(state)].join(', ');
    },
  },
  {
    id: 'hub.receipt.probe-forged',
    does: 'answers the probe of a fresh link as a spoke without a reaper would: the proof is signed by the wrong key',
    expect: 'rejection:observation-invalid',
    run: (hub) => probed(hub, ({ member }) => member.key),
  },
  {
    id: 'hub.receipt.probe-nonce',
    does: "answers the probe with the reaper's own signature over another nonce",
    expect: 'rejection:observation-invalid',
    run: (hub) => probed(hub, ({ member }) => member.reaper, { nonce: new Uint8Array(32).fill(1) }),
  },
  {
    id: 'hub.receipt.probe-other-order',
    does: "answers the probe with the reaper's answer to another probe",
    expect: 'rejection:observation-invalid',
    run: (hub) => probed(hub, ({ member }) => member.reaper, { command_digest: new Uint8Array(32).fill(1) }),
  },
  {
    id: 'hub.receipt.probe-honest',
    does: 'answers the probe as the document says',
    expect: 'ack',
    run: (hub) => probed(hub, ({ member }) => member.reaper),
  },
];

/** Answers the probe that comes with each new link. */
async function probed(hub: HubUnderTest, keyOf: (order: Order) => Key, change: Message = {}): Promise<string> {
  const { member } = await hub.hostile();
  const link = await hub.link(member);
  try {
    const given = await order(link, member, 'probe', '');
    const payload = {
      header: header({ issuer: member.id, audience: member.id, direction: 'DIRECTION_LOCAL' }),
      nonce: bytes(message(given.command, 'probe'), 'nonce'),
      command_digest: digestOf(given.envelope),
      taken_at_ms: Date.now(),
      boot_id: 'conformance',
      ...change,
    };
    const answer = encodeEnvelope(seal('probe', encode('ProbeAnswer', payload), keyOf(given)));
    return await verdict(link, receipt(given, { probed: { answer } }));
  } finally {
    await link.close();
  }
}
