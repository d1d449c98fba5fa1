import { encode, type Message } from '../wire/protobuf.ts';
import { header, type Key, seal } from '../wire/signed.ts';
import type { HubUnderTest, Member } from './hub-under-test.ts';

/** The harmless envelope in which most attacks on the hub travel: the owner wishes what is so already. */
export function wish(hub: HubUnderTest, member: Member, change: Message = {}, key: Key = member.key): Message {
  return seal('event', encode('Event', wishPayload(hub, member, change)), key);
}

export function wishPayload(hub: HubUnderTest, { id }: Member, change: Message = {}): Message {
  const base = { issuer: id, audience: hub.hubId, direction: 'DIRECTION_SPOKE_TO_HUB' };
  return { header: header({ ...base, ...change }), connection_wish: { state: 'ACTIVE', reason: 'nothing' } };
}
