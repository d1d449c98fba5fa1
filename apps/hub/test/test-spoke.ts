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
import { type HeartbeatContent, type Heartbeats, type Link, SpokeDialer } from '@capstan/link';
import {
  agentOf,
  AgentSnapshotSchema,
  type AgentStalled,
  AgentStalledSchema,
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
  type Event as InstanceEvent,
  EventSchema,
  fromHex,
  type KillEpoch,
  KillOutcome,
  type LaneName,
  LinkMessageSchema,
  type MessageInitShape,
  ObservationSchema,
  PAYLOAD_TYPES,
  type Query,
  QuerySchema,
  ReceiptSchema,
  type Rejection,
  type Routed,
  toBase64,
  toBinary,
} from '@capstan/protocol';
import { killedAll } from './killed-all.js';
import type { TestHub } from './test-hub.js';

export interface InviteContent {
  url: string;
  hubId: string;
  hubKey: string;
  secret: string;
  expiresAt: string;
  tlsPin?: string;
  tlsEnds?: 'hub' | 'proxy';
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
  /** The hub's admission, of what somebody else has signed. */
  admission?: Envelope;
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
  /** Answers of other instances to this one's commands, as the hub has sent them on. */
  readonly forwarded: Routed[] = [];
  /** Why the hub would not take, or has given up, a command of this instance: code by digest in hex. */
  readonly refused = new Map<string, string>();
  /** The hub's statements about its own key. */
  readonly statements: Envelope[] = [];
  /** Codes with which the hub would have no link. */
  readonly refusals: string[] = [];
  /** Called for each order; the test's spoke proper. */
  onOrder: (order: Ordered) => void = () => undefined;
  link: Link | undefined;
  /** What its heartbeats tell of the reaper. */
  killEpochs: KillEpoch[] = [];
  /** What its heartbeats tell of its audit log, and of the hub's. */
  ownLog: Pick<HeartbeatContent, 'treeHead' | 'treeProof' | 'treeHeld'> = {};
  /** The hub's heartbeats. */
  readonly heard: Heartbeats[] = [];
  /** The last session epoch that a hub gave it. */
  sessionEpoch = 0n;
  /** Other replicas of the hub, dialled in turn. */
  replicas: readonly TestHub[] = [];
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

  /** Dials until the hub, or the given replica of it, has let it in. */
  async connect(key: SigningKey = this.key, hubKeys?: KeyRing, hub: TestHub = this.hub): Promise<Link> {
    const { body } = await hub.get<{ keys: { publicKey: string }[] }>('instance');
    const hubKey = fromHex(body.keys[0]?.publicKey ?? '');
    const { promise, resolve, reject } = Promise.withResolvers<Link>();
    this.dialer = new SpokeDialer({
      url: linkUrl(hub),
      moreUrls: this.replicas.map(linkUrl),
      tls: { pin: hub.tlsPin, ends: 'hub' },
      instanceId: this.instanceId,
      key,
      hub: { id: 'hub', keys: hubKeys ?? new KeyRing([keyRecord('hub', hubKey, ['link', 'command'])]) },
      onLink: (link) => {
        this.link = link;
        link.onMessage = (lane, message) => {
          this.receive(lane, message.body);
        };
        link.onHeartbeat = (heartbeat) => this.heard.push(heartbeat);
        link.start();
        resolve(link);
      },
      onState: (state, detail) => {
        if (state === 'waiting') reject(new Error(detail));
      },
      onRefused: (code) => this.refusals.push(code),
      sessionEpoch: {
        load: () => Promise.resolve(this.sessionEpoch),
        save: (next) => {
          this.sessionEpoch = next;
          return Promise.resolve();
        },
      },
      heartbeat: () => ({ revocationEpoch: 0n, killEpochs: this.killEpochs, ...this.ownLog }),
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
  async acknowledge({ envelope }: Pick<Ordered, 'envelope'>): Promise<void> {
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
      header: makeHeader({
        issuer: this.instanceId,
        audience: 'hub',
        direction: Direction.SPOKE_TO_HUB,
        keyEpoch: this.epochOf(key),
      }),
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

  /** The answer to a kill-all: these agents, each observed by the reaper, which says that they are all. */
  killedAll(order: Ordered, agentIds: readonly string[], outcome = KillOutcome.KILLED): Result {
    return killedAll(this, order, agentIds, outcome);
  }

  /** It has its first key, and at most one after it. */
  private epochOf(key: SigningKey): number {
    return key === this.key ? 1 : 2;
  }

  event(agentId: string, state: AgentState, revision: bigint, key: SigningKey = this.key): Envelope {
    return this.signedEvent(
      { case: 'agentChanged', value: create(AgentSnapshotSchema, snapshot(agentId, state, revision)) },
      key,
    );
  }

  /** That an agent has stalled, or goes on. */
  stall(
    agentId: string,
    over: Partial<Pick<AgentStalled, 'stalled' | 'silentMs' | 'reason' | 'action'>> = {},
  ): Envelope {
    const said = { stalled: true, silentMs: 60_000n, reason: 'No line for 60 s.', action: 'notify', ...over };
    return this.signedEvent({ case: 'agentStalled', value: create(AgentStalledSchema, { agentId, ...said }) });
  }

  private signedEvent(body: InstanceEvent['body'], key: SigningKey = this.key): Envelope {
    const event = create(EventSchema, {
      header: makeHeader({
        issuer: this.instanceId,
        audience: 'hub',
        direction: Direction.SPOKE_TO_HUB,
        keyEpoch: this.epochOf(key),
      }),
      body,
    });
    return signPayload(key, 'event', toBinary(EventSchema, event));
  }

  /** What the instance's owner wishes for its connection. */
  wish(
    state: string,
    change: { nowMs?: number; issuer?: string; keyEpoch?: number } = {},
    key: SigningKey = this.key,
  ): Envelope {
    const base = { issuer: this.instanceId, audience: 'hub', direction: Direction.SPOKE_TO_HUB };
    const event = create(EventSchema, {
      header: makeHeader({ ...base, ...change }),
      body: { case: 'connectionWish', value: { state, reason: 'because' } },
    });
    return signPayload(key, 'event', toBinary(EventSchema, event));
  }

  /** The same over HTTP, as where there is no link. */
  postWish(envelope: Envelope) {
    const body = JSON.stringify({ event: toBase64(encodeEnvelope(envelope)) });
    return this.hub.request<{ state: string; code: string }>('POST', 'connections/wishes', body, {});
  }

  /** Lines of a log, from one sequence to another, as the answer to a watch. */
  lines(watch: { agentId: string; watchId: string }, from: number, to: number, text = 'line'): Envelope {
    const lines = Array.from({ length: to - from + 1 }, (_, at) => ({
      sequence: BigInt(from + at),
      atMs: BigInt(Date.now()),
      source: 'agent',
      text: `${text} ${String(from + at)}`,
    }));
    const event = create(EventSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: 'hub', direction: Direction.SPOKE_TO_HUB }),
      body: { case: 'logsAppended', value: { ...watch, page: { lines, next: BigInt(to) } } },
    });
    return signPayload(this.key, 'event', toBinary(EventSchema, event));
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
      this.refused.set(hex(body.value.digest), body.value.code);
      this.verdict(body.value, { is: 'rejected', code: body.value.code, retryable: body.value.retryable });
    }
    if (body.case === 'routed') this.routed(lane, body.value);
    if (body.case === 'envelope') this.take(lane, body.value);
  }

  private routed(lane: LaneName, routed: Routed): void {
    const { envelope, admission } = routed;
    if (envelope === undefined || admission === undefined) throw new Error('half a routed message');
    if (envelope.payloadType === PAYLOAD_TYPES.receipt) this.forwarded.push(routed);
    else this.take(lane, envelope, admission);
  }

  private take(lane: LaneName, envelope: Envelope, admission?: Envelope): void {
    const { payloadType, payload } = envelope;
    if (payloadType === PAYLOAD_TYPES['key-statement']) {
      this.statements.push(envelope);
      return;
    }
    const schema = payloadType === PAYLOAD_TYPES.query ? QuerySchema : CommandSchema;
    const order = { lane, envelope, command: decodeStrict(schema, payload), ...(admission ? { admission } : {}) };
    this.ordered.push(order);
    this.onOrder(order);
  }

  private verdict({ digest }: Acknowledgement | Rejection, verdict: Verdict): void {
    this.verdicts.get(hex(digest))?.(verdict);
  }
}

/** The code with which a link ends; `open` where it does not within 5 s. */
export async function codeOfEnd(link: Link | undefined): Promise<string> {
  const late = Promise.withResolvers<{ code: string }>();
  const timer = setTimeout(() => late.resolve({ code: 'open' }), 5_000);
  const { code } = await Promise.race([link?.closed ?? late.promise, late.promise]);
  clearTimeout(timer);
  return code;
}

export function snapshot(agentId: string, state: AgentState, revision: bigint) {
  return { agentId, taskId: 'task-1', state, runtime: 'claude', queuedAtMs: BigInt(Date.now()), revision };
}

function linkUrl({ url }: TestHub): string {
  return `${url.replace('http', 'ws')}/federation/link`;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
