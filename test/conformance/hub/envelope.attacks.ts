import type { Attack } from '../attack.ts';
import { BAD_PAYLOADS, BAD_SIGNATURES, type Bad } from '../wire/malformed.ts';
import { encode, join, message, rawBytes, rawVarint } from '../wire/protobuf.ts';
import { digestOf, seal, typeOf } from '../wire/signed.ts';
import { wish, wishPayload } from './envelopes.ts';
import { type HubUnderTest, verdict, verdictOn } from './hub-under-test.ts';

type HubAttack = Attack<HubUnderTest>;

/** Events and receipts wait for days in an outbox: no clock counts for them. */
const HOUR_MS = 3_600_000;

const bad = ({ id, does, expect, make }: Bad): HubAttack => ({
  id: `hub.envelope.${id}`,
  does: `${does} (an event)`,
  expect,
  run: async (hub) => {
    const { member, link } = await hub.hostile();
    const good = { kind: 'event', type: 'Event', payload: wishPayload(hub, member), key: member.key };
    return verdict(link, make(good));
  },
});

export const ENVELOPES: readonly HubAttack[] = [
  {
    id: 'hub.envelope.honest',
    does: 'sends an event as the document wants it',
    expect: 'ack',
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      return verdict(link, wish(hub, member));
    },
  },
  // What an instance tells is known by its key's id alone.
  ...[...BAD_SIGNATURES, ...BAD_PAYLOADS.filter(({ id }) => id !== 'key-epoch')].map(bad),
  {
    id: 'hub.envelope.purpose-confusion',
    does: 'signs an event with the key of its reaper',
    expect: 'rejection:key-purpose',
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      return verdict(link, wish(hub, member, {}, member.reaper));
    },
  },
  {
    id: 'hub.envelope.another-instance-key',
    does: 'sends the sound event of another instance over its own link',
    expect: ['rejection:key-unknown', 'rejection:wrong-issuer'],
    run: async (hub) => {
      const { link } = await hub.hostile();
      return verdict(link, wish(hub, await hub.enrol()));
    },
  },
  {
    id: 'hub.envelope.direction-swap',
    does: 'signs an event in the direction of a hub',
    expect: 'rejection:wrong-direction',
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      return verdict(link, wish(hub, member, { direction: 'DIRECTION_HUB_TO_SPOKE' }));
    },
  },
  {
    id: 'hub.envelope.type-swap',
    does: 'sends a signed event under the type of a receipt',
    expect: 'rejection:signature-invalid',
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      return verdict(link, { ...wish(hub, member), payload_type: typeOf('receipt') });
    },
  },
  {
    id: 'hub.envelope.type-confusion',
    does: "signs an event's bytes as a receipt",
    expect: ['rejection:payload-malformed', 'rejection:unknown-field'],
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      return verdict(link, seal('receipt', encode('Event', wishPayload(hub, member)), member.key));
    },
  },
  {
    id: 'hub.envelope.type-unknown',
    does: 'signs types that are not for hubs: a lease, a query, one of version 9',
    expect: 'rejection:payload-type-unknown',
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      const got = new Set<string>();
      for (const kind of ['lease', 'query', 'enrolled', 'admission'])
        got.add(await verdict(link, seal(kind, encode('Event', wishPayload(hub, member)), member.key)));
      got.add(await verdict(link, { ...wish(hub, member), payload_type: 'application/vnd.capstan.event.v9+protobuf' }));
      return [...got].join(', ');
    },
  },
  {
    id: 'hub.envelope.reflected-order',
    does: "sends the hub's own order back to it",
    expect: ['rejection:key-unknown', 'rejection:payload-type-unknown'],
    run: async (hub) => {
      const { link } = await hub.hostile();
      const order = await link.until('probe', () => link.messages.find(({ lane }) => lane === 'kill'), 20_000);
      const envelope = message(order.body, 'envelope');
      return verdictOn(link, digestOf(envelope), () => link.sendMessage('commands', { envelope }));
    },
  },
  {
    id: 'hub.envelope.too-large',
    does: 'sends an envelope of 1 MiB and a little',
    expect: ['rejection:envelope-too-large', 'end:frame-too-large'],
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      const large = {
        ...wishPayload(hub, member),
        connection_wish: { state: 'ACTIVE', reason: 'x'.repeat(1_048_600) },
      };
      return verdict(link, seal('event', encode('Event', large), member.key));
    },
  },
  {
    id: 'hub.envelope.unknown-field-outside',
    does: 'adds a field to the envelope, outside what is signed',
    expect: ['rejection:envelope-malformed', 'end:frame-malformed'],
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      const envelope = wish(hub, member);
      const raw = join(encode('Envelope', envelope), rawVarint(50, 1));
      return verdictOn(link, digestOf(envelope), () => link.sendChunk('results', rawBytes(1, raw), true));
    },
  },
  {
    id: 'hub.envelope.payload-twice',
    does: 'sends two payloads in one envelope, the signed one first',
    expect: ['rejection:envelope-malformed', 'end:frame-malformed'],
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      const envelope = wish(hub, member);
      const raw = join(encode('Envelope', envelope), rawBytes(2, encode('Event', wishPayload(hub, member))));
      return verdictOn(link, digestOf(envelope), () => link.sendChunk('results', rawBytes(1, raw), true));
    },
  },
  {
    id: 'hub.envelope.replay',
    does: 'sends one event twice on one link and again on the next',
    expect: 'ack, ack, ack',
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      const envelope = wish(hub, member);
      const got = [await verdict(link, envelope), await verdict(link, envelope)];
      await link.close();
      return [...got, await verdict((await hub.hostile()).link, envelope)].join(', ');
    },
  },
  {
    id: 'hub.envelope.clock',
    does: 'sends an event of an hour ago: it may have waited, and its time is no fault',
    expect: 'ack',
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      const issued_at_ms = Date.now() - HOUR_MS;
      return verdict(link, wish(hub, member, { issued_at_ms, expires_at_ms: issued_at_ms + 60_000 }));
    },
  },
  {
    id: 'hub.envelope.wish-back',
    does: 'repeats an old wish to suspend after a newer one to be active; the connection stays as the newer one says',
    expect: 'ack, ack, ack, ACTIVE',
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      const nowMs = Date.now();
      const at = (state: string, issued_at_ms: number) => {
        const payload = { ...wishPayload(hub, member, { issued_at_ms }), connection_wish: { state, reason: '' } };
        return seal('event', encode('Event', payload), member.key);
      };
      const old = at('SUSPENDED', nowMs + 1);
      const got = [await verdict(link, old), await verdict(link, at('ACTIVE', nowMs + 2)), await verdict(link, old)];
      const event = Buffer.from(encode('Envelope', at('ACTIVE', nowMs + 3))).toString('base64');
      const { body } = await hub.post('federation/connections/wishes', { body: { event } });
      return [...got, String(body['state'])].join(', ');
    },
  },
  {
    id: 'hub.envelope.lines-unasked',
    does: 'tells lines of a log for a watch that nobody opened',
    expect: 'rejection:not-found',
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      const { header } = wishPayload(hub, member);
      const logs_appended = { agent_id: 'agent-x', watch_id: 'nobody', page: { lines: [], next: 1 } };
      return verdict(link, seal('event', encode('Event', { header, logs_appended }), member.key));
    },
  },
  {
    id: 'hub.envelope.no-body',
    does: 'signs an event that says nothing',
    expect: 'rejection:payload-malformed',
    run: async (hub) => {
      const { member, link } = await hub.hostile();
      const { header } = wishPayload(hub, member);
      return verdict(link, seal('event', encode('Event', { header }), member.key));
    },
  },
];
