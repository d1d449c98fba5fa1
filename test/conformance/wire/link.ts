import type { IncomingMessage } from 'node:http';
import type { WebSocket } from 'ws';
import { bytes, decode, encode, int, join, type Message, message, text } from './protobuf.ts';

export const LANES = { kill: 1, control: 2, commands: 3, results: 4, events: 5 } as const;
export type Lane = keyof typeof LANES;

export const CHUNK_BYTES = 16 * 1024;
const HEARTBEAT_MS = 5_000;

/** A frame and its bytes as they travelled. */
export interface Frame {
  body: Message;
  raw: Uint8Array;
}

export interface Arrived {
  lane: Lane;
  body: Message;
}

/** The link ended before what was waited for; `how` is as `Wire.end`. */
export class Ended extends Error {
  readonly how: string;

  constructor(how: string) {
    super(how);
    this.how = how;
  }
}

/** One WebSocket, frame by frame, with no manners of its own. Whatever the other side does wrong stands in `faults`. */
export class Wire {
  readonly frames: Frame[] = [];
  readonly messages: Arrived[] = [];
  readonly faults: string[] = [];
  /** `end:CODE` of a farewell, else `close:STATUS`; undefined while it is open. */
  end: string | undefined;
  readonly ws: WebSocket;
  private farewell: string | undefined;
  private readonly sequences = new Map<Lane, bigint>();
  private readonly received = new Map<Lane, bigint>();
  private readonly partial = new Map<Lane, Uint8Array[]>();
  private readonly waiting = new Set<() => void>();
  private heart: NodeJS.Timeout | undefined;

  constructor(ws: WebSocket) {
    this.ws = ws;
    ws.on('open', () => this.wake());
    ws.on('message', (data: Buffer, isBinary: boolean) => this.take(data, isBinary));
    ws.on('close', (status) => {
      this.end = this.farewell ?? `close:${String(status)}`;
      clearInterval(this.heart);
      this.wake();
    });
    ws.on('unexpected-response', (_request, response: IncomingMessage) => {
      this.farewell ??= `http:${String(response.statusCode)}`;
      response.resume();
      ws.terminate();
    });
    ws.on('error', () => undefined);
  }

  /** Whatever `ask` finds, looked for again after each frame. @throws Ended, or Error after `withinMs` */
  async until<T>(what: string, ask: () => T | undefined, withinMs = 10_000): Promise<T> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const found = ask();
      if (found !== undefined) return found;
      if (this.end !== undefined) throw new Ended(this.end);
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new Error(`no ${what} within ${String(withinMs / 1000)} s`);
      await this.change(leftMs);
    }
  }

  /** The next frame of the handshake. */
  async frame(name: string, after = 0): Promise<Frame> {
    return this.until(name, () => this.frames.slice(after).find(({ body }) => body[name] !== undefined));
  }

  /** How the link ends: `end:CODE`, `close:STATUS`. */
  async ended(withinMs = 10_000): Promise<string> {
    return this.until('end', () => this.end, withinMs);
  }

  send(body: Message): Uint8Array {
    const raw = encode('Frame', body);
    this.sendRaw(raw);
    return raw;
  }

  sendRaw(raw: Uint8Array): void {
    if (this.ws.readyState === this.ws.OPEN) this.ws.send(raw);
  }

  /** A whole message on a lane, in pieces as the document wants them. */
  sendMessage(lane: Lane, body: Message): void {
    const raw = encode('LinkMessage', body);
    for (const { data, last } of pieces(raw)) this.sendChunk(lane, data, last);
  }

  sendChunk(lane: Lane, data: Uint8Array, last: boolean, step = 1n): void {
    const sequence = (this.sequences.get(lane) ?? 0n) + step;
    this.sequences.set(lane, sequence);
    this.send({ chunk: { lane: LANES[lane], sequence, data, last } });
  }

  heartbeat(fields: Message = {}): void {
    this.send({ heartbeat: { sent_at_ms: Date.now(), ...fields } });
  }

  /** Sends heartbeats from now on, as every peer must. */
  live(fields: () => Message = () => ({})): this {
    this.heartbeat(fields());
    this.heart = setInterval(() => this.heartbeat(fields()), HEARTBEAT_MS);
    return this;
  }

  fallSilent(): void {
    clearInterval(this.heart);
  }

  /** Ends it, and resolves when it is gone. */
  async close(): Promise<void> {
    clearInterval(this.heart);
    if (this.end !== undefined) return;
    this.ws.close(1000);
    const cut = setTimeout(() => this.ws.terminate(), 1_000);
    await this.ended().catch(() => undefined);
    clearTimeout(cut);
  }

  private take(data: Buffer, isBinary: boolean): void {
    try {
      if (!isBinary) throw new Error('a text frame');
      const raw = new Uint8Array(data);
      const body = decode('Frame', raw);
      if (body['farewell'] !== undefined) this.farewell ??= `end:${text(message(body, 'farewell'), 'code')}`;
      if (body['chunk'] === undefined) this.frames.push({ body, raw });
      else this.takeChunk(message(body, 'chunk'));
    } catch (error) {
      this.faults.push(String(error));
    }
    this.wake();
  }

  private takeChunk(chunk: Message): void {
    const lane = (Object.keys(LANES) as Lane[]).find((name) => BigInt(LANES[name]) === int(chunk, 'lane'));
    if (lane === undefined) throw new Error(`a chunk on lane ${String(int(chunk, 'lane'))}`);
    const due = (this.received.get(lane) ?? 0n) + 1n;
    if (int(chunk, 'sequence') !== due)
      throw new Error(`sequence ${String(int(chunk, 'sequence'))} where ${String(due)} is due`);
    this.received.set(lane, due);
    const data = bytes(chunk, 'data');
    if (data.length > CHUNK_BYTES) throw new Error(`a chunk of ${String(data.length)} bytes`);
    const parts = [...(this.partial.get(lane) ?? []), data];
    this.partial.set(lane, chunk['last'] === undefined ? parts : []);
    if (chunk['last'] !== undefined) this.messages.push({ lane, body: decode('LinkMessage', join(...parts)) });
  }

  private async change(withinMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const wake = (): void => resolve(undefined);
    const timer = setTimeout(wake, withinMs);
    this.waiting.add(wake);
    await promise;
    clearTimeout(timer);
    this.waiting.delete(wake);
  }

  private wake(): void {
    for (const wake of this.waiting) wake();
  }
}

/** A message cut into chunks. */
export function pieces(raw: Uint8Array, size = CHUNK_BYTES): { data: Uint8Array; last: boolean }[] {
  const count = Math.max(1, Math.ceil(raw.length / size));
  return Array.from({ length: count }, (_, at) => ({
    data: raw.subarray(at * size, (at + 1) * size),
    last: at === count - 1,
  }));
}
