import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { envelopeDigest, loadTrust, makeHeader, signPayload, SigningKey } from '@capstan/identity';
import { type Link, LinkListener } from '@capstan/link';
import type { Mesh } from '@capstan/localmesh';
import {
  CommandSchema,
  create,
  decodeStrict,
  Direction,
  type Envelope,
  type LaneName,
  type LinkMessage,
  LinkMessageSchema,
  type MessageInitShape,
  payloadKind,
  ReceiptSchema,
  toBinary,
  toHex,
} from '@capstan/protocol';
import { until } from './until.js';

type HeaderChange = Partial<Parameters<typeof makeHeader>[0]>;
type CommandBody = NonNullable<MessageInitShape<typeof CommandSchema>['body']>;

/**
 * Somebody who has the hub's own key, or claims to, and answers at its address while the hub is away. The spokes that
 * dial it are the real ones; what they say is remembered.
 */
export class SecondHub implements AsyncDisposable {
  readonly links: Link[] = [];
  /** Beneath the links: for bytes that no link would send. */
  readonly sockets: Duplex[] = [];
  readonly acknowledged: string[] = [];
  readonly rejected: { digest: string; code: string }[] = [];
  readonly receipts: { envelope: Envelope; answers: string }[] = [];
  /** Codes with which connections ended before they were links. */
  readonly refused: string[] = [];
  private readonly server: Server = createServer();

  private constructor(
    readonly key: SigningKey,
    private readonly listener: (hub: SecondHub) => LinkListener,
  ) {}

  /** Takes the place of the mesh's hub, which must be stopped. @param key another than the hub's own */
  static async start(mesh: Mesh, key?: SigningKey): Promise<SecondHub> {
    const own = key ?? (await SigningKey.load(join(mesh.hub.dir, 'identity.key')));
    const trusted = await loadTrust(mesh.trustFile);
    const hub = new SecondHub(
      own,
      (self) =>
        new LinkListener({
          hubId: mesh.hub.id,
          key: own,
          findSpoke: (_instance, keyId) => Promise.resolve(trusted.get(keyId)),
          nextSessionEpoch: (_instance, lastSeen) => Promise.resolve(lastSeen + 1n),
          heartbeat: () => ({ revocationEpoch: 0n, killEpochs: [] }),
          onLink: (link) => self.open(link),
          onRefused: (code) => self.refused.push(code),
        }),
    );
    await hub.listen(mesh.hub.port);
    return hub;
  }

  /** The link that is open now; waits for one that is newer than the first `after`. */
  link(after = 0): Promise<Link> {
    return until('the spoke dials', () => this.links.slice(after).at(-1));
  }

  command(audience: string, body: CommandBody, change: HeaderChange = {}): Envelope {
    const direction = Direction.HUB_TO_SPOKE;
    const header = makeHeader({ issuer: 'hub', audience, direction, tenant: 'default', ...change });
    return this.sign(toBinary(CommandSchema, create(CommandSchema, { header, body })));
  }

  sign(payload: Uint8Array, key = this.key): Envelope {
    return signPayload(key, 'command', payload);
  }

  async send(envelope: Envelope, lane: LaneName = 'commands'): Promise<string> {
    const link = await this.link();
    await link.send(lane, create(LinkMessageSchema, { body: { case: 'envelope', value: envelope } }));
    return toHex(envelopeDigest(envelope));
  }

  /** Sends a command and resolves with the digests of the `count` receipts that it is answered with from now on. */
  async answers(command: Envelope, count: number, lane?: LaneName): Promise<string[]> {
    const digest = toHex(envelopeDigest(command));
    const mine = (): string[] =>
      this.receipts.filter((each) => each.answers === digest).map(({ envelope }) => toHex(envelopeDigest(envelope)));
    const had = mine().length;
    await this.send(command, lane);
    return until(`${String(count)} receipts`, () => {
      const news = mine().slice(had);
      return news.length >= count ? news.sort() : undefined;
    });
  }

  /** Sends a command and resolves with the code of its rejection. */
  async rejection(command: Envelope, lane?: LaneName): Promise<string> {
    const had = this.rejected.length;
    const digest = await this.send(command, lane);
    return until('a rejection', () => this.rejected.slice(had).find((each) => each.digest === digest)?.code);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const link of this.links) await link.close('closed', 'the second hub goes');
    for (const socket of this.sockets) socket.destroy();
    if (!this.server.listening) return;
    this.server.close();
    await once(this.server, 'close');
  }

  private async listen(port: number): Promise<void> {
    const listener = this.listener(this);
    this.server.on('upgrade', (request, socket, head) => {
      this.sockets.push(socket);
      listener.handleUpgrade(request, socket, head);
    });
    this.server.listen(port, '127.0.0.1');
    await once(this.server, 'listening');
  }

  private open(link: Link): void {
    link.onMessage = (_lane, message) => this.take(link, message);
    link.start();
    this.links.push(link);
  }

  private take(link: Link, { body }: LinkMessage): void {
    if (body.case === 'acknowledgement') this.acknowledged.push(toHex(body.value.digest));
    if (body.case === 'rejection') this.rejected.push({ digest: toHex(body.value.digest), code: body.value.code });
    if (body.case !== 'envelope') return;
    const envelope = body.value;
    if (payloadKind(envelope.payloadType) === 'receipt') {
      const { commandDigest } = decodeStrict(ReceiptSchema, envelope.payload);
      this.receipts.push({ envelope, answers: toHex(commandDigest) });
    }
    const value = { digest: envelopeDigest(envelope) };
    link
      .send('control', create(LinkMessageSchema, { body: { case: 'acknowledgement', value } }))
      .catch(() => undefined);
  }
}
