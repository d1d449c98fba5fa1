import type { Attack } from './attack.ts';
import { CHUNK_BYTES, LANES, type Lane, pieces, type Wire } from './wire/link.ts';
import { encode, join, type Message, rawVarint } from './wire/protobuf.ts';

/** What the attacks on an open link need of the end that they are made on. */
export interface LinkEnd<Target> {
  side: 'hub' | 'spoke';
  open(target: Target): Promise<Wire>;
  /** A sound LinkMessage. */
  body(target: Target): Promise<Message>;
  /** Whether the link still works: says `honest` if so. */
  works(target: Target): Promise<string>;
  honest: string;
}

/** What both ends of this peer tell. */
const EPOCH = 5n;

const chunk = (link: Wire, fields: Message): Uint8Array =>
  link.send({ chunk: { lane: LANES.events, last: true, ...fields } });

/** Attacks on frames, lanes and chunks: both ends must answer them alike. */
export function linkAttacks<Target>({ side, open, body, works, honest }: LinkEnd<Target>): Attack<Target>[] {
  /** Does something on an open link, and says how that ended. */
  const ends =
    (what: (link: Wire) => unknown, withinMs = 10_000): Attack<Target>['run'] =>
    async (target) => {
      const link = await open(target);
      what(link);
      return link.ended(withinMs);
    };
  return [
    {
      id: `${side}.link.sequence-gap`,
      does: 'leaves out a sequence',
      expect: 'end:sequence-gap',
      run: ends((link) => link.sendChunk('events', Uint8Array.of(0), false, 2n)),
    },
    {
      id: `${side}.link.duplicate-chunk`,
      does: 'sends a chunk twice',
      expect: 'end:sequence-gap',
      run: ends((link) => {
        for (let at = 0; at < 2; at += 1) chunk(link, { sequence: 1, data: Uint8Array.of(10), last: false });
      }),
    },
    {
      id: `${side}.link.reordered-chunks`,
      does: 'sends the second chunk before the first',
      expect: 'end:sequence-gap',
      run: ends((link) => [2, 1].map((sequence) => chunk(link, { sequence, data: Uint8Array.of(10), last: false }))),
    },
    {
      id: `${side}.link.sequence-back`,
      does: 'goes back to sequence 1 after a whole message',
      expect: 'end:sequence-gap',
      run: async (target) => {
        const link = await open(target);
        const raw = encode('LinkMessage', await body(target));
        chunk(link, { sequence: 1, data: raw });
        chunk(link, { sequence: 1, data: raw });
        return link.ended();
      },
    },
    {
      id: `${side}.link.interleaved-in-lane`,
      does: 'mixes the pieces of two messages in one lane',
      expect: 'end:frame-malformed',
      run: async (target) => {
        const link = await open(target);
        const [a, b] = [await body(target), await body(target)].map((each) => pieces(encode('LinkMessage', each), 100));
        for (const [at, part] of (a ?? []).entries()) {
          link.sendChunk('events', part.data, false);
          const other = b?.[at];
          if (other !== undefined) link.sendChunk('events', other.data, other.last);
        }
        return link.ended();
      },
    },
    {
      id: `${side}.link.large-chunk`,
      does: 'sends a chunk of 16 KiB and a byte',
      expect: 'end:frame-too-large',
      run: ends((link) => link.sendChunk('events', new Uint8Array(CHUNK_BYTES + 1), false)),
    },
    {
      id: `${side}.link.endless-message`,
      does: 'sends a message that never ends',
      expect: 'end:frame-too-large',
      run: ends((link) => {
        for (let at = 0; at < 80; at += 1) link.sendChunk('events', new Uint8Array(CHUNK_BYTES), false);
      }, 20_000),
    },
    {
      id: `${side}.link.empty-chunk`,
      does: 'sends a chunk of nothing',
      expect: 'end:frame-malformed',
      run: ends((link) => link.sendChunk('events', new Uint8Array(), false)),
    },
    {
      id: `${side}.link.lane-unknown`,
      does: 'sends on lane 0 and lane 9',
      expect: 'end:frame-malformed',
      run: async (target) => {
        const how: string[] = [];
        for (const lane of [0, 9]) {
          const link = await open(target);
          chunk(link, { lane, sequence: 1, data: Uint8Array.of(1) });
          how.push(await link.ended());
        }
        return [...new Set(how)].join(', ');
      },
    },
    {
      id: `${side}.link.garbage-message`,
      does: 'sends a message that is none',
      expect: 'end:frame-malformed',
      run: ends((link) => link.sendChunk('control', Uint8Array.from([255, 255, 255]), true)),
    },
    {
      id: `${side}.link.message-unknown-field`,
      does: 'adds a field to a message that no version knows',
      expect: 'end:frame-malformed',
      run: async (target) => {
        const link = await open(target);
        link.sendChunk('events', join(encode('LinkMessage', await body(target)), rawVarint(90, 1)), true);
        return link.ended();
      },
    },
    {
      id: `${side}.link.handshake-again`,
      does: 'sends a Hello, and on the next link a Welcome, where links are open',
      expect: 'end:frame-malformed',
      run: async (target) => {
        const how: string[] = [];
        for (const frame of [{ hello: {} }, { welcome: {} }]) {
          const link = await open(target);
          link.send(frame);
          how.push(await link.ended());
        }
        return [...new Set(how)].join(', ');
      },
    },
    {
      id: `${side}.link.empty-frame`,
      does: 'sends a frame of nothing',
      expect: 'end:frame-malformed',
      run: ends((link) => link.sendRaw(new Uint8Array())),
    },
    {
      id: `${side}.link.text-frame`,
      does: 'sends text',
      expect: 'end:frame-malformed',
      run: ends((link) => link.ws.send('kill')),
    },
    {
      id: `${side}.link.large-frame`,
      does: 'sends a frame of 1 MiB',
      expect: ['end:frame-too-large', 'close:1009'],
      run: ends((link) => link.sendRaw(new Uint8Array(1024 * 1024))),
    },
    {
      id: `${side}.link.large-heartbeat`,
      does: 'sends a heartbeat with 9 KiB of renewal',
      expect: 'end:frame-too-large',
      run: ends((link) => link.heartbeat({ lease_renewal: new Uint8Array(9 * 1024), revocation_epoch: EPOCH })),
    },
    {
      id: `${side}.link.long-proof`,
      does: 'sends a tree proof of 65 hashes',
      expect: 'end:frame-malformed',
      run: ends((link) => {
        const hashes = Array.from({ length: 65 }, () => new Uint8Array(32));
        link.heartbeat({ tree_head: Uint8Array.of(1), tree_proof: { from: 1, hashes }, revocation_epoch: EPOCH });
      }),
    },
    {
      id: `${side}.link.clock-hours-away`,
      does: 'has a heartbeat clock an hour ahead, then an hour behind; the header clocks decide, not this one',
      expect: honest,
      run: async (target) => {
        const link = await open(target);
        for (const off of [3_600_000, -3_600_000])
          link.heartbeat({ sent_at_ms: Date.now() + off, revocation_epoch: EPOCH });
        return works(target);
      },
    },
    {
      id: `${side}.link.stray-answers`,
      does: 'acknowledges and rejects what nobody has sent, on each lane',
      expect: honest,
      run: async (target) => {
        const link = await open(target);
        for (const lane of Object.keys(LANES) as Lane[]) {
          link.sendMessage(lane, { acknowledgement: { digest: new Uint8Array(32).fill(7) } });
          link.sendMessage(lane, {
            rejection: { digest: new Uint8Array(3), code: 'no-such-code', sentence: '\u001b[2J' },
          });
        }
        return works(target);
      },
    },
  ];
}
