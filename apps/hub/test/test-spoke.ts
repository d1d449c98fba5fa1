import { createHash } from 'node:crypto';
import {
  envelopeDigest,
  handshakePae,
  keyRecord,
  KeyRing,
  makeHeader,
  signPayload,
  SigningKey,
} from '@capstan/identity';
import { type Link, SpokeDialer } from '@capstan/link';
import {
  agentOf,
  type AgentState,
  type Acknowledgement,
  type Command,
  CommandSchema,
  create,
  decodeStrict,
  Direction,
  encodeEnvelope,
  EnrollmentSchema,
  type Envelope,
  EventSchema,
  fromHex,
  type KillOutcome,
  type LaneName,
  LinkMessageSchema,
  type MessageInitShape,
  ObservationSchema,
  PAYLOAD_TYPES,
  type Query,
  QuerySchema,
  ReceiptSchema,
  type Rejection,
  toBase64,
  toBinary,
} from '@capstan/protocol';
import type { TestHub } from './test-hub.js';

export interface InviteContent {
  url: string;
  hubId: string;
  hubKey: string;
  secret: string;
  expiresAt: string;
}

export function readInvite(invite: string): InviteContent {
  const text = Buffer.from(invite.slice('capstan-invite-v1.'.length), 'base64url').toString();
  return JSON.parse(text) as InviteContent;
}

type EnrollmentInit = MessageInitShape<typeof EnrollmentSchema>;
type ReceiptInit = MessageInitShape<typeof ReceiptSchema>;
export type Result = NonNullable<ReceiptInit['result']>;

/** Something the hub has ordered or asked of the spoke. */
export interface Ordered {
  lane: LaneName;
  envelope: Envelope;
  command: Command | Query;
}

/** What the hub said of an envelope that it was sent. */
export type Verdict = { is: 'acknowledged' } | { is: 'rejected'; code: string; retryable: boolean };

/**
 * An instance as the hub sees one: real keys, the real link; what it answers is up to the test. By itself it answers
 * nothing, so that a test shows each step.
 */
export class TestSpoke implements AsyncDisposable {
  readonly key = SigningKey.generate();
  readonly reaper = SigningKey.generate();
  readonly ordered: Ordered[] = [];
  /** Called for each order; the test's spoke proper. */
  onOrder: (order: Ordered) => void = () => undefined;
  link: Link | undefined;
  private dialer: SpokeDialer | undefined;
  private readonly verdicts = new Map<string, (verdict: Verdict) => void>();

  constructor(
    readonly hub: TestHub,
    readonly instanceId: string,
  ) {}

  /** Enrols with an invitation that approves by itself, and connects. */
  static async connected(hub: TestHub, instanceId: string): Promise<TestSpoke> {
    const spoke = new TestSpoke(hub, instanceId);
    const { body } = await hub.post<{ invite: string }>('enrollments', { autoApprove: true });
    const reply = await spoke.redeem(readInvite(body.invite));
    if (reply.status !== 200) throw new Error(`enrolment answered ${JSON.stringify(reply.body)}`);
    await spoke.connect();
    return spoke;
  }

  redeem(invite: InviteContent, overrides: EnrollmentInit = {}, key: SigningKey = this.key) {
    return this.redeemEnvelope(invite, this.enrollment(invite, overrides, key));
  }

  redeemEnvelope({ secret }: InviteContent, envelope: Envelope) {
    const body = JSON.stringify({ secret, enrollment: toBase64(encodeEnvelope(envelope)) });
    return this.hub.request<{ enrolled: string; code: string }>('POST', 'enrollments/redeem', body, {});
  }

  enrollment({ hubId, secret }: InviteContent, overrides: EnrollmentInit = {}, key: SigningKey = this.key): Envelope {
    const endorsed = handshakePae(
      'capstan.v1.reaper-endorse',
      new TextEncoder().encode(this.instanceId),
      key.publicKey,
    );
    const enrollment = create(EnrollmentSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: hubId, direction: Direction.SPOKE_TO_HUB }),
      instanceId: this.instanceId,
      displayName: `The ${this.instanceId}`,
      identityKey: key.publicKey,
      reaperKey: this.reaper.publicKey,
      tokenDigest: createHash('sha256').update(Buffer.from(secret, 'base64url')).digest(),
      capabilities: ['claude'],
      versions: [1],
      reaperSignature: this.reaper.sign(endorsed),
      ...overrides,
    });
    return signPayload(key, 'enrollment', toBinary(EnrollmentSchema, enrollment));
  }

  /** Dials until the hub has let it in. */
  async connect(key: SigningKey = this.key): Promise<Link> {
    const { body } = await this.hub.get<{ keys: { publicKey: string }[] }>('instance');
    const hubKey = fromHex(body.keys[0]?.publicKey ?? '');
    const { promise, resolve, reject } = Promise.withResolvers<Link>();
    let epoch = 0n;
    this.dialer = new SpokeDialer({
      url: `${this.hub.url.replace('http', 'ws')}/federation/link`,
      instanceId: this.instanceId,
      key,
      hub: { id: 'hub', keys: new KeyRing([keyRecord('hub', hubKey, ['link', 'command'])]) },
      onLink: (link) => {
        this.link = link;
        link.onMessage = (lane, message) => {
          this.receive(lane, message.body);
        };
        link.start();
        resolve(link);
      },
      onState: (state, detail) => {
        if (state === 'waiting') reject(new Error(detail));
      },
      sessionEpoch: {
        load: () => Promise.resolve(epoch),
        save: (next) => {
          epoch = next;
          return Promise.resolve();
        },
      },
      backoff: { minMs: 20, maxMs: 100 },
    });
    this.dialer.start();
    return promise;
  }

  async disconnect(): Promise<void> {
    await this.dialer?.close();
    this.dialer = undefined;
    this.link = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }

  /** Says that an order is on disk here. */
  async acknowledge({ envelope }: Ordered): Promise<void> {
    await this.send('control', { case: 'acknowledgement', value: { digest: envelopeDigest(envelope) } });
  }

  async reject({ envelope }: Ordered, code: string, retryable: boolean): Promise<void> {
    await this.send('control', { case: 'rejection', value: { digest: envelopeDigest(envelope), code, retryable } });
  }

  /** A signed receipt for an order. */
  receipt(order: Ordered, result: Result, overrides: ReceiptInit = {}, key: SigningKey = this.key): Envelope {
    const { header, body } = order.command;
    const agentId = body.case === undefined ? '' : agentOf(body);
    const receipt = create(ReceiptSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: 'hub', direction: Direction.SPOKE_TO_HUB }),
      commandIssuer: header?.issuer ?? '',
      commandId: header?.id ?? '',
      commandDigest: envelopeDigest(order.envelope),
      agentId,
      acceptedAtMs: BigInt(Date.now()),
      result,
      ...overrides,
    });
    return signPayload(key, 'receipt', toBinary(ReceiptSchema, receipt));
  }

  /** What the reaper saw, serialized as it stands in a kill result. */
  observation(order: Ordered, agentId: string, outcome: KillOutcome, key: SigningKey = this.reaper): Uint8Array {
    const header = makeHeader({ issuer: this.instanceId, audience: this.instanceId, direction: Direction.LOCAL });
    const nowMs = BigInt(Date.now());
    const payload = create(ObservationSchema, {
      header,
      agentId,
      commandDigest: envelopeDigest(order.envelope),
      outcome,
      orderedAtMs: nowMs - 4n,
      signalledAtMs: nowMs - 3n,
      observedAtMs: nowMs,
      bootId: 'boot',
      processes: [{ pid: 4711, startTicks: 99n }],
      pidNamespace: 4026531836n,
      cgroup: '/sys/fs/cgroup/capstan/agent',
      membersBefore: 3,
    });
    return encodeEnvelope(signPayload(key, 'observation', toBinary(ObservationSchema, payload)));
  }

  event(agentId: string, state: AgentState, revision: bigint, key: SigningKey = this.key): Envelope {
    const event = create(EventSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: 'hub', direction: Direction.SPOKE_TO_HUB }),
      body: { case: 'agentChanged', value: snapshot(agentId, state, revision) },
    });
    return signPayload(key, 'event', toBinary(EventSchema, event));
  }

  /** Sends an envelope and resolves with what the hub says of it. */
  async offer(envelope: Envelope, lane: LaneName = 'results'): Promise<Verdict> {
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    this.verdicts.set(hex(envelopeDigest(envelope)), resolve);
    await this.send(lane, { case: 'envelope', value: envelope });
    return promise;
  }

  private async send(
    lane: LaneName,
    body: NonNullable<MessageInitShape<typeof LinkMessageSchema>['body']>,
  ): Promise<void> {
    if (this.link === undefined) throw new Error('the spoke is not connected');
    await this.link.send(lane, create(LinkMessageSchema, { body }));
  }

  private receive(lane: LaneName, body: Parameters<Link['onMessage']>[1]['body']): void {
    if (body.case === 'acknowledgement') this.verdict(body.value, { is: 'acknowledged' });
    if (body.case === 'rejection') {
      this.verdict(body.value, { is: 'rejected', code: body.value.code, retryable: body.value.retryable });
    }
    if (body.case !== 'envelope') return;
    const { payloadType, payload } = body.value;
    const schema = payloadType === PAYLOAD_TYPES.query ? QuerySchema : CommandSchema;
    const order = { lane, envelope: body.value, command: decodeStrict(schema, payload) };
    this.ordered.push(order);
    this.onOrder(order);
  }

  private verdict({ digest }: Acknowledgement | Rejection, verdict: Verdict): void {
    this.verdicts.get(hex(digest))?.(verdict);
  }
}

export function snapshot(agentId: string, state: AgentState, revision: bigint) {
  return { agentId, taskId: 'task-1', state, runtime: 'claude', queuedAtMs: BigInt(Date.now()), revision };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
