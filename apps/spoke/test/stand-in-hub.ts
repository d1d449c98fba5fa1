import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { verifyReceipt, type VerifiedReceipt } from '@capstan/evidence';
import {
  envelopeDigest,
  type KeyRecord,
  keyRecord,
  type KeyRing,
  makeAdmission,
  makeHeader,
  signPayload,
  SigningKey,
} from '@capstan/identity';
import { type Link, LinkListener, type LinkPeer } from '@capstan/link';
import {
  type AgentSnapshot,
  type AgentStalled,
  CommandSchema,
  create,
  decodeStrict,
  Direction,
  type Envelope,
  EventSchema,
  type LaneName,
  type LinkMessage,
  type LogsAppended,
  LinkMessageSchema,
  type MessageInitShape,
  payloadKind,
  QuerySchema,
  ReceiptSchema,
  toBinary,
  toHex,
  WireFault,
} from '@capstan/protocol';
import { until } from './processes.js';

type QueryBody = NonNullable<MessageInitShape<typeof QuerySchema>['body']>;
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
  readonly stalls: AgentStalled[] = [];
  /** Lines that were told to whoever watches. */
  readonly lines: LogsAppended[] = [];
  /** Commands of the spoke for other instances. */
  readonly ordered: { envelope: Envelope; lane: LaneName }[] = [];
  /** What its heartbeats carry for the reaper. */
  leaseRenewal: (peer: LinkPeer) => Uint8Array | undefined = () => undefined;
  /** Whether envelopes of the spoke are acknowledged. */
  acknowledges = true;
  /** What the spoke said about its own key. */
  readonly statements: Envelope[] = [];
  /** The key that the spoke is believed with besides its first. */
  newSpokeKey: KeyRecord | undefined;
  /** What the owner of the spoke wished, oldest first. */
  readonly wishes: { state: string; reason: string; envelope: Envelope }[] = [];
  /** Codes with which dials were refused. */
  readonly refused: string[] = [];
  revocationEpoch = 0n;
  /** Whether the spoke may link. */
  isApproved = true;
  /** Since when the spoke's key is revoked. */
  revokedAt: number | undefined;
  private sessionEpoch = 0n;
  private readonly listener: LinkListener;
  /** Wishes that came by HTTP, base64 of their envelopes. */
  readonly posted: string[] = [];
  private readonly server: Server = createServer((request, response) => void this.post(request, response));

  constructor(private readonly spokeKey: KeyRecord) {
    this.listener = new LinkListener({
      hubId: 'hub',
      key: this.key,
      findSpoke: (_instance, keyId) =>
        Promise.resolve(
          keyId === this.newSpokeKey?.keyId
            ? this.newSpokeKey
            : this.revokedAt === undefined
              ? this.spokeKey
              : { ...this.spokeKey, revokedAt: this.revokedAt },
        ),
      nextSessionEpoch: () =>
        this.isApproved
          ? Promise.resolve(++this.sessionEpoch)
          : Promise.reject(new WireFault('connection-not-active', 'PENDING')),
      heartbeat: (peer) => ({
        revocationEpoch: this.revocationEpoch,
        killEpochs: [],
        leaseRenewal: this.leaseRenewal(peer),
      }),
      onLink: (link) => this.open(link),
      onRefused: (code) => this.refused.push(code),
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
    return keyRecord('hub', this.key.publicKey, ['link', 'command', 'admit', 'lease']);
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
    return this.ask({ case: 'logs', value: { agentId } }, header);
  }

  ask(body: QueryBody, header: HeaderChange = {}): Envelope {
    const payload = create(QuerySchema, { header: this.header(header), body });
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

  /** Sends what somebody else has signed, with an admission. */
  async sendRouted(
    envelope: Envelope,
    admission: Envelope | undefined,
    lane: LaneName = 'commands',
    keyStatements: Envelope[] = [],
  ): Promise<string> {
    const link = await this.link();
    const value = { envelope, keyStatements, ...(admission === undefined ? {} : { admission }) };
    await link.send(lane, create(LinkMessageSchema, { body: { case: 'routed', value } }));
    return toHex(envelopeDigest(envelope));
  }

  /** This hub's admission of a command of another for harbor, or of another's receipt. */
  admit(envelope: Envelope, originKey: KeyRecord, change: Partial<Parameters<typeof makeAdmission>[0]> = {}): Envelope {
    const digest = envelopeDigest(envelope);
    const base = { hubId: 'hub', key: this.key, audience: 'harbor', digest, originKey, tenant: 'default', hopLimit: 0 };
    return makeAdmission({ ...base, revocationEpoch: this.revocationEpoch, ...change });
  }

  /** Says that a command of the spoke is refused. */
  async reject(envelope: Envelope, code: string, retryable = false): Promise<void> {
    const link = await this.link();
    const value = { digest: envelopeDigest(envelope), code, sentence: '', retryable };
    await link.send('control', create(LinkMessageSchema, { body: { case: 'rejection', value } }));
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

  private async post(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { event } = JSON.parse(await text(request)) as { event: string };
    this.posted.push(event);
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"state":"DISCONNECTED"}');
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
    } else if (payloadKind(envelope.payloadType) === 'command') this.ordered.push({ envelope, lane });
    else if (payloadKind(envelope.payloadType) === 'key-statement') this.statements.push(envelope);
    else {
      const event = decodeStrict(EventSchema, envelope.payload);
      if (event.body.case === 'agentChanged') this.events.push(event.body.value);
      if (event.body.case === 'agentStalled') this.stalls.push(event.body.value);
      if (event.body.case === 'logsAppended') this.lines.push(event.body.value);
      if (event.body.case === 'connectionWish') this.wishes.push({ ...event.body.value, envelope });
    }
    if (!this.acknowledges) return;
    const value = { digest: envelopeDigest(envelope) };
    void link
      .send('control', create(LinkMessageSchema, { body: { case: 'acknowledgement', value } }))
      .catch(() => undefined);
  }
}
