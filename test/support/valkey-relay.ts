import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** By the arguments of a script: digest or source, number of keys, keys, and what else it is told. */
type IsMeant = (args: readonly string[]) => boolean;

/** What a server that is full says. */
const FULL = `return redis.error_reply("OOM command not allowed when used memory > 'maxmemory'.")`;
/** Asked behind a script: once it is answered, the script has run. */
const BEHIND = 'asked-behind-the-script';

/**
 * A wire to Valkey on which a reply gets lost: the script runs, and its client sees nothing but the end of the connection. Or on
 * which a script is refused, as by a server that is full.
 */
export class ValkeyRelay implements AsyncDisposable {
  private readonly sockets = new Set<Socket>();
  private losing: IsMeant | undefined;
  private refusing: IsMeant | undefined;
  /** Replies that were lost. */
  lost = 0;
  /** Scripts that were refused. */
  refused = 0;

  private constructor(
    private readonly server: Server,
    private readonly directory: string,
    private readonly target: string,
  ) {}

  /** @param url of a server on a unix socket; it need not be there yet */
  static async start(url: string): Promise<ValkeyRelay> {
    const directory = await mkdtemp(join(tmpdir(), 'capstan-relay-'));
    const server = createServer();
    const relay = new ValkeyRelay(server, directory, new URL(url).pathname);
    server.on('connection', (near) => relay.join(near));
    server.listen(relay.socket);
    await once(server, 'listening');
    return relay;
  }

  get url(): string {
    return `unix://${this.socket}`;
  }

  /** The reply to the next script that is meant is lost, once. */
  loseReply(isMeant: IsMeant = () => true): void {
    this.losing = isMeant;
  }

  /** Scripts that are meant are refused, until `relent`. */
  refuse(isMeant: IsMeant): void {
    this.refusing = isMeant;
  }

  relent(): void {
    this.refusing = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
    await rm(this.directory, { recursive: true, force: true });
  }

  private get socket(): string {
    return join(this.directory, 'valkey.sock');
  }

  private join(near: Socket): void {
    const far = connect(this.target);
    let asked: Buffer = Buffer.alloc(0);
    /** Since the script whose reply is to be lost. */
    let withheld: Buffer | undefined;
    near.on('data', (chunk) => {
      asked = Buffer.concat([asked, chunk]);
      for (let next = firstIn(asked); next !== undefined; next = firstIn(asked)) {
        const [name = '', ...args] = next.words;
        const isScript = /^eval(sha)?$/i.test(name);
        const isRefused = isScript && this.refusing?.(args) === true;
        if (isRefused) this.refused += 1;
        far.write(isRefused ? command('EVAL', FULL, '0') : asked.subarray(0, next.end));
        asked = asked.subarray(next.end);
        if (!isScript || isRefused || this.losing?.(args) !== true) continue;
        withheld ??= Buffer.alloc(0);
        far.write(command('ECHO', BEHIND));
      }
    });
    far.on('data', (reply) => {
      if (withheld === undefined) {
        near.write(reply);
        return;
      }
      withheld = Buffer.concat([withheld, reply]);
      const end = withheld.indexOf(`$${String(BEHIND.length)}\r\n${BEHIND}\r\n`);
      if (end < 0) return;
      // Then it is sent whole, and this was no run of it.
      if (withheld.includes('-NOSCRIPT')) {
        near.write(withheld.subarray(0, end));
        withheld = undefined;
        return;
      }
      this.losing = undefined;
      this.lost += 1;
      near.destroy();
    });
    near.once('close', () => far.destroy());
    far.once('close', () => near.destroy());
    for (const socket of [near, far]) this.keep(socket);
  }

  private keep(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.sockets.delete(socket));
  }
}

function command(...words: string[]): string {
  return [`*${String(words.length)}`, ...words.flatMap((word) => [`$${String(word.length)}`, word]), ''].join('\r\n');
}

/** The first command of what was sent, and where it ends; undefined while it is not there to its end. */
function firstIn(sent: Buffer): { words: string[]; end: number } | undefined {
  let end = 0;
  const number = (): number => {
    const at = sent.indexOf('\r\n', end);
    if (at < 0) return NaN;
    const text = sent.toString('latin1', end + 1, at);
    end = at + 2;
    return Number(text);
  };
  const words: string[] = [];
  const count = number();
  while (words.length < count) {
    const size = number();
    if (Number.isNaN(size)) return undefined;
    words.push(sent.toString('utf8', end, end + size));
    end += size + 2;
  }
  return end <= sent.length && count > 0 ? { words, end } : undefined;
}
