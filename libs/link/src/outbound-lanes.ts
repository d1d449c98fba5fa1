import {
  type Chunk,
  ChunkSchema,
  create,
  LANE_NAMES,
  type LaneName,
  laneOf,
  type LinkMessage,
  LinkMessageSchema,
  toBinary,
  WireFault,
} from '@capstan/protocol';

interface Waiting {
  message: LinkMessage;
  done: () => void;
  failed: (error: Error) => void;
}

interface OutboundLane {
  waiting: Waiting[];
  /** The first of `waiting`, serialized, as far as it is not yet sent. */
  rest: Uint8Array | undefined;
  sequence: bigint;
}

/**
 * Messages that wait to be sent, cut into chunks, most urgent lane first; within a lane first come, first served.
 *
 * A message is serialized when its turn comes, so each lane buffers one message; the others are still their senders',
 * who wait.
 */
export class OutboundLanes {
  private readonly lanes: Record<LaneName, OutboundLane> = {
    kill: emptyLane(),
    control: emptyLane(),
    commands: emptyLane(),
    results: emptyLane(),
    events: emptyLane(),
  };
  private failure: Error | undefined;

  constructor(private readonly limits: { chunkBytes: number; messageBytes: number }) {}

  get waitingMessages(): number {
    return LANE_NAMES.reduce((sum, name) => sum + this.lanes[name].waiting.length, 0);
  }

  /** Settles when the message's last chunk was taken, or with the failure of the lanes, or with envelope-too-large. */
  add(name: LaneName, message: LinkMessage): Promise<void> {
    const { failure } = this;
    if (failure !== undefined) return Promise.reject(failure);
    return new Promise((done, failed) => this.lanes[name].waiting.push({ message, done, failed }));
  }

  /** The most urgent lane in which something waits, and how many bytes its next chunk has. */
  next(): { lane: LaneName; bytes: number } | undefined {
    for (const name of LANE_NAMES) {
      const rest = this.rest(this.lanes[name]);
      if (rest !== undefined) return { lane: name, bytes: Math.min(rest.length, this.limits.chunkBytes) };
    }
    return undefined;
  }

  /** Takes the next chunk of the lane that `next` has just named. */
  take(name: LaneName): Chunk {
    const lane = this.lanes[name];
    const rest = this.rest(lane);
    if (rest === undefined) throw new RangeError(`nothing waits in lane ${name}`);
    const data = rest.subarray(0, this.limits.chunkBytes);
    const last = data.length === rest.length;
    lane.sequence += 1n;
    lane.rest = last ? undefined : rest.subarray(data.length);
    if (last) lane.waiting.shift()?.done();
    return create(ChunkSchema, { lane: laneOf(name), sequence: lane.sequence, data, last });
  }

  /** Rejects everything that waits, now and later. */
  fail(error: Error): void {
    this.failure ??= error;
    for (const name of LANE_NAMES) {
      const lane = this.lanes[name];
      lane.rest = undefined;
      for (const { failed } of lane.waiting.splice(0)) failed(error);
    }
  }

  private rest(lane: OutboundLane): Uint8Array | undefined {
    while (lane.rest === undefined) {
      const first = lane.waiting[0];
      if (first === undefined) return undefined;
      const bytes = toBinary(LinkMessageSchema, first.message);
      if (bytes.length <= this.limits.messageBytes && bytes.length > 0) lane.rest = bytes;
      else {
        lane.waiting.shift();
        first.failed(new WireFault('envelope-too-large', `${String(bytes.length)} bytes`));
      }
    }
    return lane.rest;
  }
}

function emptyLane(): OutboundLane {
  return { waiting: [], rest: undefined, sequence: 0n };
}
