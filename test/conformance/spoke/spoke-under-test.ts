import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { text as readText } from 'node:stream/consumers';
import { WebSocketServer } from 'ws';
import { command, statusBody } from '../wire/commands.ts';
import { challengeOf, spokeTranscript } from '../wire/handshake.ts';
import { Ended, type Lane, Wire } from '../wire/link.ts';
import { bytes, decode, encode, hex, int, type Message, message, text } from '../wire/protobuf.ts';
import { digestOf, header, isSealedBy, isSignedBy, type Key, makeKey, newId, seal, sha256 } from '../wire/signed.ts';
import { HUB_ID, type Instance } from './instance.ts';
import { faultOfReceipt } from './receipts.ts';

const OPERATOR_ID = 'op-conformance';

/** A dial as it came: the Hello has been read, nothing was answered. */
export interface Dial {
  wire: Wire;
  hello: Uint8Array;
  said: Message;
}

export type Answering = (dial: Dial) => Promise<string>;

/** A spoke somewhere that joins this peer's invitation, and dials the hub that this peer plays. */
export class SpokeUnderTest {
  readonly key = makeKey();
  readonly operator: { id: string; key: Key } = { id: OPERATOR_ID, key: makeKey() };
  instance: Instance | undefined;
  /** What its heartbeats and Welcomes tell; only ever grows, but in the attack on it. */
  revocationEpoch = 5n;
  /** The newest receipt of each command's digest. */
  readonly receipts = new Map<string, Message[]>();
  readonly rejections = new Map<string, string>();
  private readonly secret = randomBytes(32).toString('base64url');
  private readonly server = createServer((request, response) => void this.serve(request, response));
  private readonly sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    handleProtocols: () => 'capstan.v1',
  });
  private readonly restartIt: (() => Promise<void>) | undefined;
  private current: Wire | undefined;
  private intercept: { answer: Answering; settle: (outcome: Promise<string>) => void } | undefined;
  private sessionEpoch = 0n;
  private ended = 0;
  private readonly changed = new Set<() => void>();

  /** @param restart kills the spoke's process and lets it start again, where that can be done from here */
  constructor(restart?: () => Promise<void>) {
    this.restartIt = restart;
  }

  async listen(port = 0, host = '127.0.0.1'): Promise<void> {
    this.server.on('upgrade', (request, socket, head) => {
      this.sockets.handleUpgrade(request, socket, head, (ws) => void this.dialled(new Wire(ws)).catch(() => undefined));
    });
    this.server.listen(port, host);
    await once(this.server, 'listening');
  }

  get canRestart(): boolean {
    return this.restartIt !== undefined;
  }

  get invite(): string {
    const { port, address } = this.server.address() as AddressInfo;
    const url = `http://${address}:${String(port)}`;
    const expiresAt = new Date(Date.now() + 14 * 60_000).toISOString();
    const content = { url, hubId: HUB_ID, hubKey: hex(this.key.raw), secret: this.secret, expiresAt };
    return `capstan-invite-v1.${Buffer.from(JSON.stringify(content)).toString('base64url')}`;
  }

  /** The instance that joined; waits for it. */
  async joined(withinMs = 15 * 60_000): Promise<Instance> {
    return this.until('enrolment', () => this.instance, withinMs);
  }

  /** The open link; waits for the spoke to dial. */
  async link(): Promise<Wire> {
    // The spoke's pauses double with each link that ended early.
    if (this.current?.end !== undefined && this.ended > 3) await this.restart();
    return this.until('link', () => (this.current?.end === undefined ? this.current : undefined), 40_000);
  }

  async restart(): Promise<void> {
    if (this.restartIt === undefined) return;
    this.ended = 0;
    const before = this.current;
    await this.restartIt();
    await this.until('link after a restart', () => (this.current === before ? undefined : this.current), 40_000);
  }

  /** Ends the link and answers the next dial as an attack likes. */
  async onNextDial(answer: Answering): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<Promise<string>>();
    const link = await this.link();
    this.intercept = { answer, settle: resolve };
    await link.close();
    this.ended += 1;
    if (this.ended > 3 && this.restartIt !== undefined) {
      this.ended = 0;
      await this.restartIt();
    }
    return within(promise, 40_000);
  }

  command(body: Message, change: Message = {}, key: Key = this.key): Message {
    return command(this.from(), key, body, change);
  }

  from(direction = 'DIRECTION_HUB_TO_SPOKE', issuer = HUB_ID) {
    return { issuer, audience: this.instance?.id ?? '', direction };
  }

  /** What becomes of a command: `rejection:CODE`, `refused:CODE`, or the receipt's result and outcome. */
  async order(envelope: Message, lane: Lane = 'commands', withinMs = 8_000): Promise<string> {
    return this.send(envelope, lane, { envelope }, withinMs);
  }

  async routed(envelope: Message, admission: Message | undefined, lane: Lane = 'commands'): Promise<string> {
    return this.send(
      envelope,
      lane,
      { routed: { envelope, ...(admission === undefined ? {} : { admission }) } },
      8_000,
    );
  }

  /** Receipts of a command so far. */
  receiptsOf(envelope: Message): Message[] {
    return this.receipts.get(hex(digestOf(envelope))) ?? [];
  }

  async send(envelope: Message, lane: Lane, body: Message, withinMs: number): Promise<string> {
    const digest = hex(digestOf(envelope));
    const link = await this.link();
    const before = this.receiptsOf(envelope).length;
    this.rejections.delete(digest);
    link.sendMessage(lane, body);
    try {
      return await link.until('answer', () => this.answer(envelope, digest, before), withinMs);
    } catch (error) {
      if (error instanceof Ended) return error.how;
      throw error;
    }
  }

  async close(): Promise<void> {
    for (const ws of this.sockets.clients) ws.terminate();
    await this.current?.close();
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  /** Waits until what stands behind the spoke answers too. */
  async ready(): Promise<void> {
    const until = performance.now() + 30_000;
    while ((await this.serves()) !== 'refused:agent-unknown' && performance.now() < until);
  }

  /** Whether the link is whole: an honest command is answered. */
  async serves(): Promise<string> {
    return this.order(this.command(statusBody()));
  }

  private answer(envelope: Message, digest: string, before: number): string | undefined {
    const code = this.rejections.get(digest);
    if (code !== undefined) return `rejection:${code}`;
    const receipt = this.receiptsOf(envelope)[before];
    if (receipt === undefined || this.instance === undefined) return undefined;
    const fault = faultOfReceipt(receipt, envelope, this.instance);
    return fault ?? outcomeOf(decode('Receipt', bytes(receipt, 'payload')));
  }

  private async dialled(wire: Wire): Promise<void> {
    const hello = await wire.frame('hello');
    const dial = { wire, hello: hello.raw, said: message(hello.body, 'hello') };
    const { intercept } = this;
    this.intercept = undefined;
    if (intercept === undefined) await this.admit(dial);
    else intercept.settle(intercept.answer(dial));
  }

  /** The hub's part of the handshake, with an attack's changes. @throws Ended, or Error where the spoke's proof is bad */
  async admit({ wire, hello, said }: Dial, challenge: Message = {}, welcome: Message = {}): Promise<Wire> {
    const answer = wire.send({ challenge: challengeOf(hello, HUB_ID, this.key, challenge) });
    const proof = await wire.frame('proof');
    const signature = bytes(message(proof.body, 'proof'), 'signature');
    if (!isSignedBy(this.instance?.key ?? new Uint8Array(32), spokeTranscript(hello, answer), signature))
      throw new Error('the spoke has proven nothing');
    const seen = int(said, 'session_epoch');
    this.sessionEpoch = (seen > this.sessionEpoch ? seen : this.sessionEpoch) + 1n;
    wire.send({
      welcome: {
        session_id: newId(),
        session_epoch: this.sessionEpoch,
        heartbeat_ms: 5_000,
        dead_after_ms: 15_000,
        revocation_epoch: this.revocationEpoch,
        server_time_ms: Date.now(),
        ...welcome,
      },
    });
    await wire.frame('heartbeat');
    wire.live(() => ({ revocation_epoch: this.revocationEpoch }));
    this.listenTo(wire);
    this.current = wire;
    this.ended += 1;
    this.wake();
    return wire;
  }

  /** Keeps every answer and says so, as a hub must, else it comes again for ever. */
  private listenTo(wire: Wire): void {
    let read = 0;
    wire.ws.on('message', () => {
      for (const { body } of wire.messages.slice(read)) {
        read += 1;
        const rejection = message(body, 'rejection');
        if (rejection['digest'] !== undefined)
          this.rejections.set(hex(bytes(rejection, 'digest')), text(rejection, 'code'));
        const envelope = message(body, 'envelope');
        if (envelope['payload'] === undefined) continue;
        this.keep(envelope);
        wire.sendMessage('control', { acknowledgement: { digest: digestOf(envelope) } });
      }
    });
  }

  private keep(envelope: Message): void {
    if (!text(envelope, 'payload_type').includes('.receipt.')) return;
    const digest = hex(bytes(decode('Receipt', bytes(envelope, 'payload')), 'command_digest'));
    this.receipts.set(digest, [...(this.receipts.get(digest) ?? []), envelope]);
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = JSON.parse((await readText(request)) || '{}') as { secret?: string; enrollment?: string };
    const answer = request.url?.endsWith('/redeem') === true ? this.redeem(body) : { state: 'ACTIVE' };
    response.writeHead(answer === undefined ? 403 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? { code: 'enrollment-token' }));
  }

  private redeem({ secret, enrollment }: { secret?: string; enrollment?: string }): { enrolled: string } | undefined {
    if (secret !== this.secret || enrollment === undefined) return undefined;
    const statement = decode('Envelope', new Uint8Array(Buffer.from(enrollment, 'base64')));
    const said = decode('Enrollment', bytes(statement, 'payload'));
    const [key, reaper] = [bytes(said, 'identity_key'), bytes(said, 'reaper_key')];
    const token = sha256(new Uint8Array(Buffer.from(this.secret, 'base64url')));
    if (!isSealedBy(statement, key) || hex(token) !== hex(bytes(said, 'token_digest'))) return undefined;
    this.instance = { id: text(said, 'instance_id'), key, reaper, statement };
    this.wake();
    const enrolled = {
      header: header(this.from()),
      instance_id: this.instance.id,
      connection_id: newId(),
      enrollment_digest: digestOf(statement),
      state: 'ACTIVE',
    };
    const envelope = seal('enrolled', encode('Enrolled', enrolled), this.key);
    return { enrolled: Buffer.from(encode('Envelope', envelope)).toString('base64') };
  }

  private async until<T>(what: string, ask: () => T | undefined, withinMs: number): Promise<T> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const found = ask();
      if (found !== undefined) return found;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new Error(`no ${what} within ${String(withinMs / 1000)} s`);
      const { promise, resolve } = Promise.withResolvers<undefined>();
      const wake = (): void => resolve(undefined);
      const timer = setTimeout(wake, leftMs);
      this.changed.add(wake);
      await promise;
      clearTimeout(timer);
      this.changed.delete(wake);
    }
  }

  private wake(): void {
    for (const wake of this.changed) wake();
  }
}

/** `refused:CODE`, `killed:tombstoned`, `status` … */
function outcomeOf(receipt: Message): string {
  const refused = message(receipt, 'refused');
  if (receipt['refused'] !== undefined) return `refused:${text(refused, 'code')}`;
  const outcomes = ['unspecified', 'killed', 'already-gone', 'tombstoned', 'unconfirmed'];
  if (receipt['killed'] !== undefined)
    return `killed:${outcomes[Number(int(message(receipt, 'killed'), 'outcome'))] ?? 'unknown'}`;
  const results = ['spawned', 'status', 'killed_all', 'finished', 'logs', 'rearmed', 'probed', 'catalog', 'agents'];
  return results.find((name) => receipt[name] !== undefined) ?? 'no result';
}

function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`the spoke has not dialled within ${String(ms / 1000)} s`)), ms);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
