/** Answers to a hub's orders, as docs/protocol.md has them. */
import type { Wire } from '../wire/link.ts';
import { bytes, decode, encode, type Message, message, text } from '../wire/protobuf.ts';
import { digestOf, encodeEnvelope, header, type Key, seal } from '../wire/signed.ts';
import type { Member } from './hub-under-test.ts';

/** Something that the hub has ordered of a member. */
export interface Order {
  envelope: Message;
  command: Message;
  member: Member;
  link: Wire;
  agentId: string;
}

/** What the hub orders: the first of its kind on the link, about this agent where one is named. */
export async function order(link: Wire, member: Member, kind: string, agentId: string): Promise<Order> {
  return link.until(`order to ${kind}`, () => {
    for (const { body } of link.messages) {
      const envelope = message(body, 'envelope');
      if (!text(envelope, 'payload_type').includes('.command.')) continue;
      const command = decode('Command', bytes(envelope, 'payload'));
      const ordered = command[kind];
      if (ordered !== undefined && (agentId === '' || text(message(command, kind), 'agent_id') === agentId))
        return { envelope, command, member, link, agentId };
    }
    return undefined;
  });
}

/** What an instance answers; `change` and `key` are those of an attack. */
export function receipt(
  { envelope, command, member, agentId }: Order,
  result: Message,
  change: Message = {},
  key?: Key,
): Message {
  const ordered = message(command, 'header');
  const payload = {
    header: header({ issuer: member.id, audience: text(ordered, 'issuer'), direction: 'DIRECTION_SPOKE_TO_HUB' }),
    command_issuer: text(ordered, 'issuer'),
    command_id: text(ordered, 'id'),
    command_digest: digestOf(envelope),
    agent_id: agentId,
    accepted_at_ms: Date.now(),
    ...result,
    ...change,
  };
  return seal('receipt', encode('Receipt', payload), key ?? member.key);
}

/** What a reaper has seen of one agent, serialized. */
export function observation({ envelope, member, agentId }: Order, change: Message = {}, key?: Key): Uint8Array {
  const nowMs = Date.now();
  const payload = {
    header: header({ issuer: member.id, audience: member.id, direction: 'DIRECTION_LOCAL' }),
    agent_id: agentId,
    command_digest: digestOf(envelope),
    outcome: 'KILL_OUTCOME_KILLED',
    ordered_at_ms: nowMs - 3,
    signalled_at_ms: nowMs - 2,
    observed_at_ms: nowMs - 1,
    boot_id: 'conformance',
    processes: [{ pid: 4711, start_ticks: 99 }],
    pid_namespace: 4026531836,
    cgroup: '/sys/fs/cgroup/conformance',
    members_before: 1,
    ...change,
  };
  return encodeEnvelope(seal('observation', encode('Observation', payload), key ?? member.reaper));
}
