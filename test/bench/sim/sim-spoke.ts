import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
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
  type KilledAgent,
  KilledAgentSchema,
  KillOutcome,
  type LaneName,
  type LinkMessage,
  LinkMessageSchema,
  type MessageInitShape,
  ObservationSchema,
  payloadKind,
  ReceiptSchema,
  toBase64,
  toBinary,
} from '@capstan/protocol';
import { bootId, type KillHandle, readProcess, signalHandle, waitGone } from '@capstan/sandbox';
import type { HttpPeer } from '../http.ts';

/** What the hub's invitation says, as far as it is needed here. */
interface Invite {
  hubId: string;
  hubKey: string;
  secret: string;
}

type ReceiptInit = MessageInitShape<typeof ReceiptSchema>;

/** A long sleep with a child of its own: what there is of an agent here. */
const TREE = ['-c', 'sleep 600 & wait'];
const GONE_MS = 10_000;

/**
 * An instance of which only the link is there, to load a hub with many: real keys, the real enrolment and the real link;
 * it answers a status with a receipt, and a kill-all by killing real processes, watching them go, and signing that.
 */
export class SimSpoke {
  readonly key = SigningKey.generate();
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
    const hubKeys = new KeyRing([
      keyRecord(terms.hubId, fromHex(terms.hubKey), ['link', 'command', 'admit', 'lease', 'receipt']),
    ]);
    this.dial(terms.hubId, hubKeys);
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

  private async take(lane: LaneName, { body }: LinkMessage): Promise<void> {
    // Nothing that is sent here is to be refused: a measurement of refusals would be quick and wrong.
    if (body.case === 'rejection') throw new Error(`${this.instanceId}: refused with ${body.value.code}`);
    if (body.case !== 'envelope' || payloadKind(body.value.payloadType) !== 'command') return;
    const envelope = body.value;
    const command = decodeStrict(CommandSchema, envelope.payload);
    const result = await this.answer(command, envelopeDigest(envelope));
    if (result === undefined) return;
    const { header, body: ordered } = command;
    const receipt = create(ReceiptSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: this.hubId, direction: Direction.SPOKE_TO_HUB }),
      commandIssuer: header?.issuer ?? '',
      commandId: header?.id ?? '',
      commandDigest: envelopeDigest(envelope),
      agentId: ordered.case === 'status' ? ordered.value.agentId : '',
      acceptedAtMs: BigInt(Date.now()),
      result,
    });
    const signed = signPayload(this.key, 'receipt', toBinary(ReceiptSchema, receipt));
    await this.send(lane === 'kill' ? 'kill' : 'results', { case: 'envelope', value: signed });
  }

  private async answer({ body }: Command, digest: Uint8Array): Promise<ReceiptInit['result'] | undefined> {
    if (body.case === 'status') {
      const { agentId } = body.value;
      return {
        case: 'status',
        value: create(AgentSnapshotSchema, { agentId, taskId: 't', state: AgentState.RUNNING }),
      };
    }
    if (body.case !== 'killAll') return undefined;
    const agents = await Promise.all(this.trees.splice(0).map((tree) => this.killTree(tree, digest)));
    return { case: 'killedAll', value: { $typeName: 'capstan.v1.KillAllResult', epoch: body.value.epoch, agents } };
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

/** The shell's children too; they are in its process group. */
function endGroup(child: ChildProcess): void {
  try {
    process.kill(-(child.pid ?? 0), 'SIGKILL');
  } catch {
    // None is left.
  }
}
