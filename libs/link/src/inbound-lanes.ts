import {
  type Chunk,
  decodeStrict,
  type LaneName,
  laneName,
  type LinkMessage,
  LinkMessageSchema,
  WireFault,
} from '@capstan/protocol';

interface Partial {
  buffer: Uint8Array;
  length: number;
}

interface InboundLane {
  sequence: bigint;
  partial: Partial | undefined;
}

/**
 * Puts chunks together again, one unfinished message per lane. Chunks are copied into one growing buffer: a list of
 * them would let a peer pin far more memory than it sends, one byte at a time.
 */
export class InboundLanes {
  private readonly lanes = new Map<LaneName, InboundLane>();

  constructor(private readonly limits: { chunkBytes: number; messageBytes: number }) {}

  /** The message that this chunk completes, if any. Throws WireFault frame-malformed, frame-too-large, sequence-gap. */
  take(chunk: Chunk): { lane: LaneName; message: LinkMessage } | undefined {
    const name = laneName(chunk.lane);
    const lane = this.lane(name);
    if (chunk.sequence !== lane.sequence + 1n) {
      throw new WireFault('sequence-gap', `${name}: ${String(chunk.sequence)} after ${String(lane.sequence)}`);
    }
    lane.sequence = chunk.sequence;
    if (chunk.data.length > this.limits.chunkBytes) throw new WireFault('frame-too-large', `chunk in ${name}`);
    if (chunk.data.length === 0) throw new WireFault('frame-malformed', `empty chunk in ${name}`);
    if (chunk.last && lane.partial === undefined) return { lane: name, message: decode(chunk.data) };

    const partial = (lane.partial ??= { buffer: new Uint8Array(2 * this.limits.chunkBytes), length: 0 });
    if (partial.length + chunk.data.length > this.limits.messageBytes) {
      throw new WireFault('frame-too-large', `message in ${name}`);
    }
    append(partial, chunk.data);
    if (!chunk.last) return undefined;
    lane.partial = undefined;
    return { lane: name, message: decode(partial.buffer.subarray(0, partial.length)) };
  }

  private lane(name: LaneName): InboundLane {
    let lane = this.lanes.get(name);
    if (lane === undefined) {
      lane = { sequence: 0n, partial: undefined };
      this.lanes.set(name, lane);
    }
    return lane;
  }
}

function append(partial: Partial, data: Uint8Array): void {
  const length = partial.length + data.length;
  if (length > partial.buffer.length) {
    const grown = new Uint8Array(Math.max(length, 2 * partial.buffer.length));
    grown.set(partial.buffer.subarray(0, partial.length));
    partial.buffer = grown;
  }
  partial.buffer.set(data, partial.length);
  partial.length = length;
}

function decode(bytes: Uint8Array): LinkMessage {
  let message: LinkMessage;
  try {
    message = decodeStrict(LinkMessageSchema, bytes);
  } catch (cause) {
    throw new WireFault('frame-malformed', 'not a link message', { cause });
  }
  if (message.body.case === undefined) throw new WireFault('frame-malformed', 'empty link message');
  return message;
}
