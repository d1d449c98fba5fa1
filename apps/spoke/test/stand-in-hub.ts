import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { verifyReceipt, type VerifiedReceipt } from '@capstan/evidence';
import {
  envelopeDigest,
  type KeyRecord,
  keyRecord,
  type KeyRing,
  makeHeader,
  signPayload,
  SigningKey,
} from '@capstan/identity';
import { type Link, LinkListener } from '@capstan/link';
import {
  type AgentSnapshot,
  CommandSchema,
  create,
  decodeStrict,
  Direction,
  type Envelope,
  EventSchema,
  type LaneName,
  type LinkMessage,
  LinkMessageSchema,
  type MessageInitShape,
  payloadKind,
  QuerySchema,
  ReceiptSchema,
  toBinary,
  toHex,
} from '@capstan/protocol';
import { until } from './processes.js';

type CommandBody = NonNullable<MessageInitShape<typeof CommandSchema>['body']>;
export type HeaderChange = Partial<Parameters<typeof makeHeader>[0]>;

/** The hub's end of the link, with a memory of everything that came over it. */
export class StandInHub implements AsyncDisposable {
  readonly key = SigningKey.generate();
  readonly links: Link[] = [];
  readonly acknowledged: string[] = [];
  readonly rejected: { digest: string; code: string; retryable: boolean }[] = [];
  readonly receipts: { envelope: Envelope; digest: string; lane: LaneName }[] = [];
  readonly events: AgentSnapshot[] = [];
  /** Whether envelopes of the spoke are acknowledged. */
  acknowledges = true;
  private sessionEpoch = 0n;
  private readonly listener: LinkListener;
  private readonly server: Server = createServer();

  constructor(private readonly spokeKey: KeyRecord) {
    this.listener = new LinkListener({
      hubId: 'hub',
      key: this.key,
      findSpoke: () => Promise.resolve(this.spokeKey),
      nextSessionEpoch: () => Promise.resolve(++this.sessionEpoch),
      epochs: () => ({ revocationEpoch: 0n, killEpochs: [] }),
      onLink: (link) => this.open(link),
    });
    this.server.on('upgrade', (request, socket, head) => this.listener.handleUpgrade(request, socket, head));
  }

  async start(): Promise<void> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
  }

  get url(): string {
    return `http://127.0.0.1:${String((this.server.address() as AddressInfo).port)}`;
  }

  get record(): KeyRecord {
    return keyRecord('hub', this.key.publicKey, ['link', 'command', 'lease']);
  }

  /** The newest open link; waits for one. */
  async link(after = 0): Promise<Link> {
    return until(() => this.links.slice(after).at(-1), 'a link');
  }

  command(body: CommandBody, header: HeaderChange = {}): Envelope {
    const payload = create(CommandSchema, { header: this.header(header), body });
    return signPayload(this.key, 'command', toBinary(CommandSchema, payload));
  }

  query(agentId: string, header: HeaderChange = {}): Envelope {
    const payload = create(QuerySchema, { header: this.header(header), body: { case: 'logs', value: { agentId } } });
    return signPayload(this.key, 'query', toBinary(QuerySchema, payload));
  }

  header(change: HeaderChange): ReturnType<typeof makeHeader> {
    const base = { issuer: 'hub', audience: 'harbor', direction: Direction.HUB_TO_SPOKE, tenant: 'default' };
    return makeHeader({ ...base, ...change });
  }

  async send(envelope: Envelope, lane: LaneName = 'commands'): Promise<string> {
    const link = await this.link();
    await link.send(lane, create(LinkMessageSchema, { body: { case: 'envelope', value: envelope } }));
    return toHex(envelopeDigest(envelope));
  }

  /** Receipts that answer a command, oldest first, verified with the instance's keys. */
  receiptsOf(command: Envelope, keys: KeyRing): VerifiedReceipt[] {
    return this.envelopesOf(command).map((envelope) => verifyReceipt({ envelope, keys, command, hubId: 'hub' }));
  }

  envelopesOf(command: Envelope): Envelope[] {
    const digest = toHex(envelopeDigest(command));
    return this.receipts.filter(({ digest: answers }) => answers === digest).map(({ envelope }) => envelope);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener.close();
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  private open(link: Link): void {
    link.onMessage = (lane, message) => this.take(link, lane, message);
    link.start();
    this.links.push(link);
  }

  private take(link: Link, lane: LaneName, { body }: LinkMessage): void {
    if (body.case === 'acknowledgement') this.acknowledged.push(toHex(body.value.digest));
    if (body.case === 'rejection') {
      const { digest, code, retryable } = body.value;
      this.rejected.push({ digest: toHex(digest), code, retryable });
    }
    if (body.case !== 'envelope') return;
    const envelope = body.value;
    if (payloadKind(envelope.payloadType) === 'receipt') {
      const { commandDigest } = decodeStrict(ReceiptSchema, envelope.payload);
      this.receipts.push({ envelope, digest: toHex(commandDigest), lane });
    } else {
      const event = decodeStrict(EventSchema, envelope.payload);
      if (event.body.case === 'agentChanged') this.events.push(event.body.value);
    }
    if (!this.acknowledges) return;
    const value = { digest: envelopeDigest(envelope) };
    void link
      .send('control', create(LinkMessageSchema, { body: { case: 'acknowledgement', value } }))
      .catch(() => undefined);
  }
}
