import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createHash } from 'node:crypto';
import {
  envelopeDigest,
  handshakePae,
  keyRecord,
  type KeyRecord,
  KeyRing,
  makeHeader,
  openRouted,
  signPayload,
  SigningKey,
} from '@capstan/identity';
import { type Link, SpokeDialer } from '@capstan/link';
import {
  AcknowledgementSchema,
  agentOf,
  AgentSnapshotSchema,
  AgentState,
  type Command,
  CommandSchema,
  create,
  decodeStrict,
  Direction,
  EnrollmentSchema,
  encodeEnvelope,
  type Envelope,
  fromHex,
  type KillAllAgents,
  KillAllStatementSchema,
  type KilledAgent,
  KilledAgentSchema,
  KillOutcome,
  type LaneName,
  type LinkMessage,
  LinkMessageSchema,
  type MessageInitShape,
  ObservationSchema,
  payloadKind,
  ProbeAnswerSchema,
  ReceiptSchema,
  type Routed,
  toBase64,
  toBinary,
} from '@capstan/protocol';
import { bootId, type KillHandle, readProcess, signalHandle, waitGone } from '@capstan/sandbox';
import type { HttpPeer } from '../http.ts';
import { RoutedOrders, type Until } from './routed-orders.ts';

/** What the hub's invitation says, as far as it is needed here. */
interface Invite {
  hubId: string;
  hubKey: string;
  secret: string;
}

type Ordered = Pick<Command, 'header' | 'body'>;
type ReceiptInit = MessageInitShape<typeof ReceiptSchema>;

/** A long sleep with a child of its own: what there is of an agent here. */
const TREE = ['-c', 'sleep 600 & wait'];
const GONE_MS = 10_000;

/**
 * An instance of which only the link is there, to load a hub with many: real keys, the real enrolment and the real link;
 * it answers a spawn and a status with a receipt, and a kill-all by killing real processes, watching them go, and signing
 * that. What another instance has ordered it verifies as a real one does.
 */
export class SimSpoke {
  readonly key = SigningKey.generate();
  readonly orders = new RoutedOrders(this);
  /** How far it goes with a status: to the acknowledgement, or to the receipt. */
  takesStatus: Until = 'answered';
  /** Keys of the other instances. */
  peers = new KeyRing();
  hubKeys = new KeyRing();
  /** Ids of others' commands that have come over the link and hold; a hub repeats what is not answered in time. */
  readonly routedIn = new Set<string>();
  private readonly reaper = SigningKey.generate();
  private readonly trees: { agentId: string; child: ChildProcess; handle: KillHandle }[] = [];
  private dialer: SpokeDialer | undefined;
  private hubId = '';
  link: Link | undefined;

  readonly instanceId: string;
  private readonly hubUrl: string;
  private readonly onLinked: () => void;

  constructor(instanceId: string, hubUrl: string, onLinked: () => void) {
    this.instanceId = instanceId;
    this.hubUrl = hubUrl;
    this.onLinked = onLinked;
  }

  /** Redeems an invitation that approves by itself, and dials. */
  async join(hub: HttpPeer): Promise<void> {
    const { invite } = await hub.call<{ invite: string }>(
      'POST',
      '/api/v1/federation/enrollments',
      JSON.stringify({ autoApprove: true }),
    );
    const terms = JSON.parse(Buffer.from(invite.slice(invite.indexOf('.') + 1), 'base64url').toString()) as Invite;
    this.hubId = terms.hubId;
    const enrollment = toBase64(encodeEnvelope(this.enrollment(terms)));
    await hub.call(
      'POST',
      '/api/v1/federation/enrollments/redeem',
      JSON.stringify({ secret: terms.secret, enrollment }),
    );
    this.hubKeys = new KeyRing([
      keyRecord(terms.hubId, fromHex(terms.hubKey), ['link', 'command', 'admit', 'lease', 'receipt']),
    ]);
    this.dial(terms.hubId, this.hubKeys);
  }

  /** What another instance pins of it. */
  get record(): KeyRecord {
    return keyRecord(this.instanceId, this.key.publicKey, ['command', 'receipt']);
  }

  /** Starts a process tree that a kill-all has to end. */
  async startTree(agentId: string): Promise<void> {
    const child = spawn('/bin/sh', TREE, { stdio: 'ignore', detached: true });
    await once(child, 'spawn');
    const seen = readProcess(child.pid ?? 0);
    if (seen === null) throw new Error(`${agentId} is gone already`);
    const processes = [{ pid: seen.pid, startTicks: seen.startTicks }];
    const handle: KillHandle = { driver: 'bubblewrap', bootId: bootId(), processes, pidNamespace: 0n, cgroup: '' };
    this.trees.push({ agentId, child, handle });
  }

  async send(lane: LaneName, body: LinkMessage['body']): Promise<void> {
    await this.link?.send(lane, create(LinkMessageSchema, { body }));
  }

  async close(): Promise<void> {
    await this.dialer?.close();
    for (const { child } of this.trees) endGroup(child);
  }

  private dial(hubId: string, keys: KeyRing): void {
    let epoch = 0n;
    this.dialer = new SpokeDialer({
      url: `${this.hubUrl.replace('http', 'ws')}/federation/link`,
      instanceId: this.instanceId,
      key: this.key,
      hub: { id: hubId, keys },
      sessionEpoch: {
        load: () => Promise.resolve(epoch),
        save: (seen) => {
          epoch = seen;
          return Promise.resolve();
        },
      },
      onLink: (link) => {
        this.link = link;
        link.onMessage = (lane, message) => void this.take(lane, message);
        link.start();
        this.onLinked();
      },
    });
    this.dialer.start();
  }

  private enrollment({ hubId, secret }: Invite): Envelope {
    const endorsed = handshakePae(
      'capstan.v1.reaper-endorse',
      new TextEncoder().encode(this.instanceId),
      this.key.publicKey,
    );
    const enrollment = create(EnrollmentSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: hubId, direction: Direction.SPOKE_TO_HUB }),
      instanceId: this.instanceId,
      displayName: this.instanceId,
      identityKey: this.key.publicKey,
      reaperKey: this.reaper.publicKey,
      tokenDigest: createHash('sha256').update(Buffer.from(secret, 'base64url')).digest(),
      capabilities: ['claude'],
      versions: [1],
      reaperSignature: this.reaper.sign(endorsed),
    });
    return signPayload(this.key, 'enrollment', toBinary(EnrollmentSchema, enrollment));
  }

  private async take(lane: LaneName, message: LinkMessage): Promise<void> {
    const { body } = message;
    if (body.case === 'envelope' && payloadKind(body.value.payloadType) === 'command')
      await this.obey(lane, body.value, decodeStrict(CommandSchema, body.value.payload));
    else if (body.case === 'routed') await this.takeRouted(lane, body.value);
    else this.orders.heard(message);
  }

  private async takeRouted(lane: LaneName, { envelope, admission, keyStatements }: Routed): Promise<void> {
    if (envelope === undefined) throw new Error('nothing was routed');
    if (payloadKind(envelope.payloadType) === 'receipt') {
      this.orders.answered({
        $typeName: 'capstan.v1.Routed',
        envelope,
        keyStatements,
        ...(admission && { admission }),
      });
      return;
    }
    const trust = { hub: this.hubKeys, operators: new KeyRing(), peers: this.peers };
    const { header, body } = openRouted({ envelope, admission }, trust, this.instanceId);
    this.routedIn.add(header.id);
    if (body.case === 'status' && this.takesStatus === 'acknowledged')
      await this.send('control', { case: 'acknowledgement', value: acknowledgement(envelope) });
    else await this.obey(lane, envelope, { header, body });
  }

  private async obey(lane: LaneName, envelope: Envelope, { header, body }: Ordered): Promise<void> {
    const digest = envelopeDigest(envelope);
    const result = await this.answer(body, digest);
    if (result === undefined) return;
    const receipt = create(ReceiptSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: this.hubId, direction: Direction.SPOKE_TO_HUB }),
      commandIssuer: header?.issuer ?? '',
      commandId: header?.id ?? '',
      commandDigest: digest,
      agentId: body.case === undefined ? '' : agentOf(body),
      acceptedAtMs: BigInt(Date.now()),
      result,
    });
    const signed = signPayload(this.key, 'receipt', toBinary(ReceiptSchema, receipt));
    await this.send(lane === 'kill' ? 'kill' : 'results', { case: 'envelope', value: signed });
  }

  private async answer(body: Command['body'], digest: Uint8Array): Promise<ReceiptInit['result'] | undefined> {
    if (body.case === 'spawn') return { case: 'spawned', value: snapshotOf(body.value.agentId, AgentState.QUEUED) };
    if (body.case === 'status') return { case: 'status', value: snapshotOf(body.value.agentId, AgentState.RUNNING) };
    if (body.case === 'probe')
      return {
        case: 'probed',
        value: { $typeName: 'capstan.v1.ProbeResult', answer: this.probed(body.value.nonce, digest) },
      };
    if (body.case !== 'killAll') return undefined;
    const agents = await Promise.all(this.trees.splice(0).map((tree) => this.killTree(tree, digest)));
    const statement = this.stated(
      body.value,
      digest,
      agents.map(({ agentId }) => agentId),
    );
    const { epoch } = body.value;
    return { case: 'killedAll', value: { $typeName: 'capstan.v1.KillAllResult', epoch, agents, statement } };
  }

  /** What a reaper says of itself: the kill path is there. */
  private probed(nonce: Uint8Array, commandDigest: Uint8Array): Uint8Array {
    const answer = create(ProbeAnswerSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: this.instanceId, direction: Direction.LOCAL }),
      nonce,
      commandDigest,
      takenAtMs: BigInt(Date.now()),
      bootId: bootId(),
      livingAgents: this.trees.length,
    });
    return encodeEnvelope(signPayload(this.reaper, 'probe', toBinary(ProbeAnswerSchema, answer)));
  }

  /** Which agents a reaper knew when it raised the epoch. */
  private stated({ scope, scopeId, epoch }: KillAllAgents, commandDigest: Uint8Array, agents: string[]): Uint8Array {
    const statement = create(KillAllStatementSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: this.instanceId, direction: Direction.LOCAL }),
      commandDigest,
      scope,
      scopeId,
      epoch,
      agents,
      raisedAtMs: BigInt(Date.now()),
      bootId: bootId(),
    });
    return encodeEnvelope(signPayload(this.reaper, 'kill-all', toBinary(KillAllStatementSchema, statement)));
  }

  private async killTree(
    { agentId, child, handle }: { agentId: string; child: ChildProcess; handle: KillHandle },
    commandDigest: Uint8Array,
  ): Promise<KilledAgent> {
    const orderedAtMs = BigInt(Date.now());
    const gone = once(child, 'exit');
    await signalHandle(handle);
    endGroup(child);
    await gone;
    const isDead = await waitGone(handle, GONE_MS);
    const outcome = isDead ? KillOutcome.KILLED : KillOutcome.UNCONFIRMED;
    const observation = create(ObservationSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: this.instanceId, direction: Direction.LOCAL }),
      agentId,
      commandDigest,
      outcome,
      orderedAtMs,
      signalledAtMs: orderedAtMs,
      observedAtMs: BigInt(Date.now()),
      bootId: handle.bootId,
      processes: handle.processes,
    });
    const bytes = encodeEnvelope(signPayload(this.reaper, 'observation', toBinary(ObservationSchema, observation)));
    return create(KilledAgentSchema, { agentId, result: { outcome, observation: isDead ? bytes : new Uint8Array() } });
  }
}

const snapshotOf = (agentId: string, state: AgentState) => create(AgentSnapshotSchema, { agentId, taskId: 't', state });

const acknowledgement = (envelope: Envelope) => create(AcknowledgementSchema, { digest: envelopeDigest(envelope) });

/** The shell's children too; they are in its process group. */
function endGroup(child: ChildProcess): void {
  try {
    process.kill(-(child.pid ?? 0), 'SIGKILL');
  } catch {
    // None is left.
  }
}

/** Lets instances know each other's keys, as if each had pinned them. */
export function introduce(spokes: readonly SimSpoke[]): void {
  const peers = new KeyRing(spokes.map(({ record }) => record));
  for (const spoke of spokes) spoke.peers = peers;
}
