import { chmod, unlink } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import {
  decodeStrict,
  lengthPrefixed,
  LengthPrefixReader,
  ReaperRequestSchema,
  ReaperReplySchema,
  toBinary,
  type ReaperReply,
} from '@capstan/protocol';
import type { Reaper } from '../reaper.js';
import { answer } from './requests.js';

/** Spoke, orchestrator and a few tools: whoever opens more is broken. */
const MOST_CONNECTIONS = 32;
/** Requests of one connection that are being answered at a time; its socket is not read meanwhile. */
const MOST_IN_FLIGHT = 256;

/** The reaper's socket, for the owner only. Each request is answered when it is done, in any order. */
export class ReaperServer {
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;

  constructor(
    private readonly reaper: Reaper,
    private readonly report: (error: unknown) => void,
  ) {
    this.server = createServer((socket) => this.serve(socket));
    this.server.maxConnections = MOST_CONNECTIONS;
  }

  /** The caller holds the instance's lock, so that a socket which is there already is nobody's. */
  async listen(path: string): Promise<void> {
    await unlink(path).catch(() => undefined);
    // The mask makes the socket private from its first moment on.
    const mask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        this.server.once('error', reject);
        this.server.listen(path, resolve);
      });
    } finally {
      process.umask(mask);
    }
    await chmod(path, 0o600);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private serve(socket: Socket): void {
    const frames = new LengthPrefixReader();
    let inFlight = 0;
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const frame of frames.push(chunk)) {
          const request = decodeStrict(ReaperRequestSchema, frame);
          if (++inFlight >= MOST_IN_FLIGHT) socket.pause();
          void answer(this.reaper, request, this.report).then((reply) => {
            if (--inFlight < MOST_IN_FLIGHT) socket.resume();
            this.send(socket, reply);
          });
        }
      } catch (error) {
        // What cannot be read cannot be answered by its id: the connection is lost.
        this.report(error);
        socket.destroy();
      }
    });
  }

  private send(socket: Socket, reply: ReaperReply): void {
    if (socket.destroyed) return;
    try {
      socket.write(lengthPrefixed(toBinary(ReaperReplySchema, reply)));
    } catch (error) {
      this.report(error);
      socket.destroy();
    }
  }
}
