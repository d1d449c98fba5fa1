import { connect } from 'node:net';
import type { Attack } from '../attack.ts';
import { nonce, spokeTranscript } from '../wire/handshake.ts';
import type { Wire } from '../wire/link.ts';
import { bytes, encode, join, message, rawVarint, utf8 } from '../wire/protobuf.ts';
import { makeKey, malleate } from '../wire/signed.ts';
import { type HubUnderTest, refusal, sessionEpoch } from './hub-under-test.ts';

type HubAttack = Attack<HubUnderTest>;

async function member(hub: HubUnderTest) {
  return (await hub.hostile()).member;
}

/** Sends what an attack wants as the first frame. */
async function first(hub: HubUnderTest, send: (wire: Wire) => unknown): Promise<string> {
  const wire = await hub.socket();
  send(wire);
  return wire.ended(15_000);
}

const hello = async (hub: HubUnderTest) => {
  const { id, key } = await member(hub);
  return { instance_id: id, key_id: key.id, nonce: nonce(), versions: [1] };
};

export const HANDSHAKE: readonly HubAttack[] = [
  {
    id: 'hub.handshake.honest',
    does: 'follows the document, and shows that this peer can be let in',
    expect: 'let in',
    run: async (hub) => refusal(hub.handshake(await member(hub))),
  },
  {
    id: 'hub.handshake.session-epoch-grows',
    does: 'links twice, claiming a session epoch far ahead the second time',
    expect: 'grows',
    run: async (hub) => {
      const before = sessionEpoch((await hub.handshake(await member(hub))).welcome);
      const claimed = before + 1_000n;
      const after = sessionEpoch(
        (await hub.handshake(await member(hub), { hello: { session_epoch: claimed } })).welcome,
      );
      return after > before && after > claimed ? 'grows' : `${String(before)}, then ${String(after)}`;
    },
  },
  {
    id: 'hub.handshake.another-key',
    does: 'proves another key than the pinned one that it names',
    expect: 'end:handshake-signature',
    run: async (hub) => refusal(hub.handshake(await member(hub), { key: makeKey() })),
  },
  {
    id: 'hub.handshake.unknown-key',
    does: 'names and proves a key that nobody has pinned',
    expect: 'end:key-unknown',
    run: async (hub) => {
      const key = makeKey();
      return refusal(hub.handshake(await member(hub), { key, hello: { key_id: key.id } }));
    },
  },
  {
    id: 'hub.handshake.purpose-confusion',
    does: 'proves the key of its reaper, which may observe and not link',
    expect: ['end:key-purpose', 'end:key-unknown'],
    run: async (hub) => {
      const { reaper } = await member(hub);
      return refusal(hub.handshake(await member(hub), { key: reaper, hello: { key_id: reaper.id } }));
    },
  },
  {
    id: 'hub.handshake.id-swap',
    does: 'names another instance with its own key',
    expect: 'end:key-unknown',
    run: async (hub) => refusal(hub.handshake(await member(hub), { hello: { instance_id: hub.newName() } })),
  },
  {
    id: 'hub.handshake.reflection',
    does: "sends the hub's own signature back as its proof",
    expect: 'end:handshake-signature',
    run: async (hub) => {
      const wire = await hub.socket();
      wire.send({ hello: await hello(hub) });
      const { body } = await wire.frame('challenge');
      wire.send({ proof: { signature: bytes(message(body, 'challenge'), 'signature') } });
      return wire.ended();
    },
  },
  {
    id: 'hub.handshake.malleated',
    does: 'proves with S + L in place of S',
    expect: 'end:handshake-signature',
    run: async (hub) => refusal(hub.handshake(await member(hub), { proof: (_, honest) => malleate(honest) })),
  },
  {
    id: 'hub.handshake.replayed-proof',
    does: 'repeats Hello and Proof of an earlier session byte for byte',
    expect: 'end:handshake-signature',
    run: async (hub) => {
      let kept = new Uint8Array();
      const keep = (_: unknown, honest: Uint8Array): Uint8Array => (kept = new Uint8Array(honest));
      const earlier = await hub.handshake(await member(hub), { proof: keep });
      const wire = await hub.socket();
      wire.sendRaw(earlier.hello);
      await wire.frame('challenge');
      wire.send({ proof: { signature: kept } });
      return wire.ended();
    },
  },
  {
    id: 'hub.handshake.downgrade',
    does: 'proves another Hello than the one that it sent: as if its list of versions had been altered on the way',
    expect: 'end:handshake-signature',
    run: async (hub) => {
      const { key, id } = await member(hub);
      const other = encode('Frame', { hello: { instance_id: id, key_id: key.id, nonce: nonce(), versions: [1, 2] } });
      const proof = ({ challenge }: { challenge: Uint8Array }) => key.sign(spokeTranscript(other, challenge));
      return refusal(hub.handshake(await member(hub), { proof }));
    },
  },
  {
    id: 'hub.handshake.no-common-version',
    does: 'speaks only versions that nobody has written',
    expect: 'end:handshake-version',
    run: async (hub) => refusal(hub.handshake(await member(hub), { hello: { versions: [4_000, 4_001] } })),
  },
  {
    id: 'hub.handshake.short-nonce',
    does: 'sends a nonce of 31 bytes',
    expect: 'end:frame-malformed',
    run: async (hub) => refusal(hub.handshake(await member(hub), { hello: { nonce: nonce().slice(1) } })),
  },
  {
    id: 'hub.handshake.bad-id',
    does: 'calls itself ../../etc',
    expect: 'end:id-malformed',
    run: async (hub) => refusal(hub.handshake(await member(hub), { hello: { instance_id: '../../etc' } })),
  },
  {
    id: 'hub.handshake.out-of-turn',
    does: 'begins with a Proof',
    expect: 'end:frame-malformed',
    run: (hub) => first(hub, (wire) => wire.send({ proof: { signature: new Uint8Array(64) } })),
  },
  {
    id: 'hub.handshake.chunk-first',
    does: 'sends a message before it has proven anything',
    expect: 'end:frame-malformed',
    run: (hub) => first(hub, (wire) => wire.sendChunk('kill', Uint8Array.of(1), true)),
  },
  {
    id: 'hub.handshake.truncated',
    does: 'sends half a Hello',
    expect: 'end:frame-malformed',
    run: async (hub) => {
      const raw = encode('Frame', { hello: await hello(hub) });
      return first(hub, (wire) => wire.sendRaw(raw.slice(0, raw.length / 2)));
    },
  },
  {
    id: 'hub.handshake.unknown-field',
    does: 'adds a field that no version knows',
    expect: 'end:frame-malformed',
    run: async (hub) => {
      const raw = encode('Frame', { hello: await hello(hub) });
      return first(hub, (wire) => wire.sendRaw(join(raw, rawVarint(900, 1))));
    },
  },
  {
    id: 'hub.handshake.text-frame',
    does: 'sends text',
    expect: 'end:frame-malformed',
    run: (hub) => first(hub, (wire) => wire.ws.send('hello')),
  },
  {
    id: 'hub.handshake.large-frame',
    does: 'sends 64 KiB and a byte in one frame',
    expect: ['end:frame-too-large', 'close:1009'],
    run: (hub) => first(hub, (wire) => wire.sendRaw(new Uint8Array(64 * 1024 + 1))),
  },
  {
    id: 'hub.handshake.fragments',
    does: 'sends one frame in 17 fragments',
    expect: ['end:frame-too-large', 'close:1008', 'close:1009'],
    run: (hub) =>
      first(hub, (wire) => {
        for (let at = 0; at < 17; at += 1) wire.ws.send(utf8('x'), { fin: at === 16, binary: true });
      }),
  },
  {
    id: 'hub.handshake.flood',
    does: 'sends a hundred frames without waiting for its turn',
    expect: 'end:frame-malformed',
    run: async (hub) => {
      const one = await hello(hub);
      return first(hub, (wire) => {
        for (let at = 0; at < 100; at += 1) wire.send({ hello: one });
      });
    },
  },
  {
    id: 'hub.handshake.slow',
    isSlow: true,
    does: 'opens the socket and says nothing',
    expect: 'end:handshake-timeout',
    run: (hub) => first(hub, () => undefined),
  },
  {
    id: 'hub.handshake.half-open',
    isSlow: true,
    does: 'sends a Hello, hears the Challenge, and says nothing',
    expect: 'end:handshake-timeout',
    run: async (hub) => {
      const one = await hello(hub);
      return first(hub, (wire) => wire.send({ hello: one }));
    },
  },
  {
    id: 'hub.upgrade.half-request',
    isSlow: true,
    does: 'sends half an HTTP request and waits a minute and a half',
    expect: 'cut off',
    run: (hub) => halfRequest(new URL(hub.url), 90_000),
  },
  {
    id: 'hub.upgrade.origin',
    does: 'dials as a page in a browser does, with an Origin',
    expect: 'http:403',
    run: (hub) => refusal(hub.socket({ origin: 'https://evil.example' })),
  },
  {
    id: 'hub.upgrade.subprotocol',
    does: 'offers another subprotocol',
    expect: 'http:400',
    run: (hub) => refusal(hub.socket({}, ['capstan.v0'])),
  },
  {
    id: 'hub.upgrade.compression',
    does: 'offers permessage-deflate',
    expect: 'none agreed',
    run: async (hub) => {
      const wire = await hub.socket({ perMessageDeflate: true });
      const agreed = wire.ws.extensions;
      await wire.close();
      return agreed === '' ? 'none agreed' : agreed;
    },
  },
  {
    id: 'hub.upgrade.many',
    does: 'opens forty sockets from one address and proves nothing on any',
    expect: 'most 32, then http:503',
    isGreedy: true,
    run: async (hub) => {
      const tried = await Promise.all(
        Array.from({ length: 40 }, async () => {
          try {
            return await hub.socket();
          } catch (error) {
            return error instanceof Error ? error.message : String(error);
          }
        }),
      );
      const open = tried.filter((each) => typeof each !== 'string');
      const refused = new Set(tried.filter((each) => typeof each === 'string'));
      await Promise.all(open.map((wire) => wire.close()));
      return open.length <= 32 && [...refused].join() === 'http:503' ? 'most 32, then http:503' : `${open.length} open`;
    },
  },
];

/** A request that never ends must not hold its socket. */
function halfRequest(url: URL, withinMs: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: url.hostname, port: Number(url.port) || 80 });
    const patience = setTimeout(() => {
      socket.destroy();
      resolve('held');
    }, withinMs);
    socket.on('error', () => undefined);
    socket.on('data', () => undefined);
    socket.once('close', () => {
      clearTimeout(patience);
      resolve('cut off');
    });
    socket.write('GET /federation/link HTTP/1.1\r\nHost: hub\r\nUpgrade: webs');
  });
}
