import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import {
  create,
  fromBinary,
  lengthPrefixed,
  LengthPrefixReader,
  LocalFault,
  ReaperReplySchema,
  ReaperRequestSchema,
  toBinary,
  type MessageInitShape,
  type ReaperReply,
} from '@capstan/protocol';

type RequestBody = NonNullable<MessageInitShape<typeof ReaperRequestSchema>['body']>;
type ReplyBody = ReaperReply['body'];

interface Waiting {
  resolve: (body: ReplyBody) => void;
  reject: (error: Error) => void;
}

const RETRY_MS = 50;

/** One socket to the reaper, made when it is needed and made again when it was lost. */
export class ReaperConnection {
  private readonly waiting = new Map<bigint, Waiting>();
  private lastId = 0n;
  private socket: Promise<Socket> | undefined;
  private closed = false;

  constructor(
    private readonly path: string,
    /** How long a reaper that is being restarted is waited for, milliseconds. */
    private readonly patienceMs: number,
  ) {}

  /** Throws LocalFault `reaper-unavailable` (not there, or lost before it answered), `reaper-silent` (too late). */
  async request(body: RequestBody, timeoutMs: number): Promise<ReplyBody> {
    const socket = await this.open();
    const id = ++this.lastId;
    const { promise, resolve, reject } = Promise.withResolvers<ReplyBody>();
    const timer = setTimeout(() => reject(new LocalFault('reaper-silent', 'The reaper does not answer.')), timeoutMs);
    this.waiting.set(id, { resolve, reject });
    try {
      socket.write(lengthPrefixed(toBinary(ReaperRequestSchema, create(ReaperRequestSchema, { id, body }))));
      return await promise;
    } finally {
      clearTimeout(timer);
      this.waiting.delete(id);
    }
  }

  close(): void {
    this.closed = true;
    void this.socket?.then(
      (socket) => socket.destroy(),
      () => undefined,
    );
  }

  private open(): Promise<Socket> {
    if (this.socket === undefined) {
      const opening = this.connect();
      this.socket = opening;
      opening.catch(() => this.forget(opening));
    }
    return this.socket;
  }

  private async connect(): Promise<Socket> {
    const deadline = performance.now() + this.patienceMs;
    for (;;) {
      if (this.closed) throw unavailable();
      try {
        const socket = await connected(this.path);
        this.listen(socket);
        return socket;
      } catch (cause) {
        if (performance.now() + RETRY_MS > deadline) throw unavailable(cause);
      }
      await delay(RETRY_MS);
    }
  }

  private listen(socket: Socket): void {
    const frames = new LengthPrefixReader();
    const opened = this.socket;
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const frame of frames.push(chunk)) this.take(fromBinary(ReaperReplySchema, frame));
      } catch (error) {
        socket.destroy(error instanceof Error ? error : undefined);
      }
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.forget(opened);
      for (const { reject } of this.waiting.values()) reject(unavailable());
      this.waiting.clear();
    });
    if (this.closed) socket.destroy();
  }

  private take(reply: ReaperReply): void {
    this.waiting.get(reply.id)?.resolve(reply.body);
  }

  private forget(opened: Promise<Socket> | undefined): void {
    if (this.socket === opened) this.socket = undefined;
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

function unavailable(cause?: unknown): LocalFault {
  return new LocalFault('reaper-unavailable', 'The reaper cannot be reached.', undefined, { cause });
}
