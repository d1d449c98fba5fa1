import type { Attack } from '../attack.ts';
import { flood } from '../flood.ts';
import { linkAttacks } from '../link.attacks.ts';
import { pieces } from '../wire/link.ts';
import { encode } from '../wire/protobuf.ts';
import { digestOf } from '../wire/signed.ts';
import { wish } from './envelopes.ts';
import { type HubUnderTest, verdict, verdictOn } from './hub-under-test.ts';

type HubAttack = Attack<HubUnderTest>;

export const LINK: readonly HubAttack[] = [
  ...linkAttacks<HubUnderTest>({
    side: 'hub',
    open: async (hub) => (await hub.hostile()).link,
    body: async (hub) => ({ envelope: wish(hub, (await hub.hostile()).member) }),
    works: async (hub) => {
      const { member, link } = await hub.hostile();
      return verdict(link, wish(hub, member));
    },
    honest: 'ack',
  }),
  {
    id: 'hub.link.interleaved-lanes',
    does: 'mixes the pieces of two messages in two lanes, which is allowed',
    expect: 'ack, ack',
    run: async (hub) => {
      const { link, member } = await hub.hostile();
      const both = [wish(hub, member), wish(hub, member)] as const;
      const [a, b] = both.map((envelope) => pieces(encode('LinkMessage', { envelope }), 100));
      const send = (): void => {
        for (const [at, part] of (a ?? []).entries()) {
          link.sendChunk('events', part.data, part.last);
          const other = b?.[at];
          if (other !== undefined) link.sendChunk('results', other.data, other.last);
        }
      };
      const second = verdictOn(link, digestOf(both[1]), () => undefined);
      return `${await verdictOn(link, digestOf(both[0]), send)}, ${await second}`;
    },
  },
  {
    id: 'hub.link.forged-tree-head',
    does: 'sends a tree head that is none; it is noted, and ends nothing',
    expect: 'ack',
    run: async (hub) => {
      const { link, member } = await hub.hostile();
      link.heartbeat({ tree_head: new Uint8Array(100), tree_held: 2n ** 40n });
      return verdict(link, wish(hub, member));
    },
  },
  {
    id: 'hub.link.routed-by-spoke',
    does: 'sends a Routed, as only a hub may; it is not obeyed, and a real message is still read',
    expect: ['ack', 'end:frame-malformed'],
    run: async (hub) => {
      const { link, member } = await hub.hostile();
      const envelope = wish(hub, member);
      link.sendMessage('commands', { routed: { envelope, admission: envelope } });
      return verdict(link, wish(hub, member));
    },
  },
  {
    id: 'hub.link.silent',
    isSlow: true,
    does: 'falls silent on an open link',
    expect: 'end:link-silent',
    run: async (hub) => {
      const { wire } = await hub.handshake(await hub.enrol());
      wire.heartbeat();
      return wire.ended(40_000);
    },
  },
  {
    id: 'hub.link.flood',
    does: 'sends a million frames of a few bytes; another link is served meanwhile, and all of it is over in two minutes',
    expect: 'served',
    run: floodOne,
  },
];

/** Another link must not feel it. */
async function floodOne(hub: HubUnderTest): Promise<string> {
  const link = await hub.link(await hub.enrol());
  const got = await flood(link, async () => {
    const { member, link: other } = await hub.hostile();
    const said = await verdict(other, wish(hub, member), 10_000);
    return said === 'ack' ? undefined : `the other link got ${said}`;
  });
  await link.close();
  return got;
}
