import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export type WireState = { kind: 'cut' | 'silent' | 'one-way' } | { kind: 'slow'; delayMs: number };

/** The wire from a spoke to the hub, which can be as bad as a real one. */
export class Wire implements AsyncDisposable {
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;
  private readonly targetPort: number;
  private state: WireState | undefined;

  private constructor(server: Server, targetPort: number) {
    this.server = server;
    this.targetPort = targetPort;
    server.on('connection', (near) => this.join(near));
  }

  /** To `targetPort` of this machine. */
  static async start(targetPort: number): Promise<Wire> {
    const wire = new Wire(createServer(), targetPort);
    wire.server.listen(0, '127.0.0.1');
    await once(wire.server, 'listening');
    return wire;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  spoil(state: WireState): void {
    this.state = state;
    if (state.kind === 'cut') this.drop();
  }

  /** A link of which bytes were lost stays dead; a slow one goes on. */
  mend(): void {
    const was = this.state?.kind;
    this.state = undefined;
    if (was !== undefined && was !== 'slow') this.drop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.drop();
    this.server.close();
    await once(this.server, 'close');
  }

  private drop(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  private join(near: Socket): void {
    this.keep(near);
    if (this.state?.kind === 'cut') {
      near.destroy();
      return;
    }
    const far = connect(this.targetPort, '127.0.0.1');
    this.keep(far);
    this.pass(near, far, 'to hub');
    this.pass(far, near, 'from hub');
    near.once('close', () => far.destroy());
    far.once('close', () => near.destroy());
  }

  private pass(from: Socket, to: Socket, way: 'to hub' | 'from hub'): void {
    from.on('data', (chunk) => {
      const { state } = this;
      if (state?.kind === 'silent' || (state?.kind === 'one-way' && way === 'from hub')) return;
      const delayMs = state?.kind === 'slow' ? state.delayMs : 0;
      this.later(to, delayMs, () => to.write(chunk));
    });
    from.on('end', () => this.later(to, 0, () => to.end()));
  }

  /** In order, also where the delay has just become shorter. */
  private later(to: Socket, delayMs: number, send: () => unknown): void {
    const before = this.queues.get(to) ?? Promise.resolve();
    const due = Date.now() + delayMs;
    const sent = before.then(async () => {
      const waitMs = due - Date.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (!to.destroyed) send();
    });
    this.queues.set(to, sent);
  }

  private readonly queues = new WeakMap<Socket, Promise<void>>();

  private keep(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.sockets.delete(socket));
  }
}
