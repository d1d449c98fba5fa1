import { Injectable } from '@nestjs/common';
import { checkHeader, type KeyRing } from '@capstan/identity';
import { agentOf, Direction, type Envelope, type Header, toHex, WireFault } from '@capstan/protocol';
import { AgentDirectory } from '../agents/agent.directory.js';
import { CommandBook } from '../commands/command.book.js';
import { KINDS } from '../commands/command-factory.js';
import type { CommandRecord } from '../commands/command-record.js';
import { CommandStore } from '../commands/command.store.js';
import { Outbox } from '../commands/outbox.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { SpawnGate } from '../killswitch/spawn-gate.js';
import { WithdrawnSpawns } from '../killswitch/withdrawn-spawns.js';
import { Freshness } from '../replicas/freshness.js';
import { Admissions } from './admissions.js';
import { type ForeignCommand, verifyForeign } from './foreign-command.js';
import { OperatorStore } from './operator.store.js';
import { RoutingPolicyFile } from './routing-policy.js';

/** Commands of others that may wait for one instance: the hub's own must always find room. */
const MOST_OPEN = 1_000;
/** A kill is repeated that long; no receiver looks at its expiry. */
const KILL_LIFETIME_MS = 24 * 60 * 60 * 1000;
const LONGEST_LIFETIME_MS = 24 * 60 * 60 * 1000;
/** What a kill waits at most to learn whether its id was used before. */
const KILL_LOOKUP_MS = 50;

/** What became of a command that somebody else has signed. */
export interface Routed {
  record: CommandRecord;
  /** It was here before: nothing new was written or sent. */
  isRepeated: boolean;
}

interface Origin {
  kind: 'operator' | 'peer';
  keys: KeyRing;
  direction: Direction;
}

/** Routes commands that somebody else has signed: verified, allowed, admitted, committed, sent. The hub signs none of them. */
@Injectable()
export class RoutingDesk {
  /** By the digest of the command. */
  private readonly underWay = new Map<string, Promise<Routed>>();

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly operators: OperatorStore,
    private readonly policy: RoutingPolicyFile,
    private readonly admissions: Admissions,
    private readonly directory: AgentDirectory,
    private readonly book: CommandBook,
    private readonly store: CommandStore,
    private readonly outbox: Outbox,
    private readonly gate: SpawnGate,
    private readonly withdrawn: WithdrawnSpawns,
    private readonly freshness: Freshness,
  ) {}

  /**
   * A command that came over the link of `instance`, which can only be its own. Resolves once it is committed; a kill is
   * sent first.
   *
   * @param isFull whether so much waits that only kills are taken
   * @throws WireFault why it is refused
   */
  fromInstance(instance: string, envelope: Envelope, isFull: boolean): Promise<Routed> {
    const { keys } = this.connections.ofInstance(instance);
    return this.take(envelope, { kind: 'peer', keys, direction: Direction.SPOKE_TO_SPOKE }, isFull);
  }

  /** A command that an operator has signed, whoever brings it. @throws WireFault why it is refused */
  fromOperator(envelope: Envelope): Promise<Routed> {
    const { keys } = this.operators;
    return this.take(envelope, { kind: 'operator', keys, direction: Direction.OPERATOR_TO_SPOKE });
  }

  private async take(envelope: Envelope, origin: Origin, isFull = false): Promise<Routed> {
    const command = verifyForeign(envelope, origin.keys, origin.direction);
    const digest = toHex(command.digest);
    // An origin that is linked again repeats what it has just sent.
    const same = this.underWay.get(digest);
    if (same !== undefined) return { ...(await same), isRepeated: true };
    const taken = this.takeVerified(command, origin, isFull);
    this.underWay.set(digest, taken);
    return taken.finally(() => this.underWay.delete(digest));
  }

  private async takeVerified(command: ForeignCommand, origin: Origin, isFull: boolean): Promise<Routed> {
    const { header, body } = command;
    this.checkWay(command);
    const isKill = body.case === 'kill';
    if (!isKill) this.freshness.check();
    if (isFull && !isKill) throw new WireFault('queue-unavailable', 'too much in hand');
    const known = isKill ? await this.findSoon(header.id) : this.book.get(header.id);
    if (known !== undefined) return repeated(known, command);
    if (!isKill) checkTime(header);
    const { issuer, audience: target, tenant } = header;
    await this.policy.check({ kind: origin.kind, origin: issuer, verb: body.case, target, tenant });
    if (body.case === 'spawn') this.gate.check(target, tenant);
    const record = this.recordOf(command);
    if (isKill) return this.kill(record);
    if (this.book.openCount(target) >= MOST_OPEN) throw new WireFault('queue-unavailable', `${target} is full`);
    return this.issue(record);
  }

  /** From a known origin to a known instance that is another, by no more hubs than allowed. */
  private checkWay({ header, body }: ForeignCommand): void {
    const { issuer, audience, hopLimit } = header;
    const isKill = body.case === 'kill';
    if (audience === issuer) throw new WireFault('route-cycle', audience);
    if (audience === this.identity.hubId) throw new WireFault('wrong-audience', 'the hub itself');
    if (hopLimit < 1) throw new WireFault('hop-limit', 'it may pass no hub');
    const target = this.connections.ofInstance(audience);
    for (const connection of [target, this.connections.find(issuer)]) {
      const isAble = connection?.state === 'ACTIVE' || (isKill && connection?.state === 'SUSPENDED');
      // An operator has no connection.
      if (connection !== undefined && !isAble) {
        throw new WireFault('connection-not-active', `${connection.instanceId} is ${connection.state}`);
      }
    }
    const home = this.directory.peek(agentOf(body));
    // A kill of the wrong instance would leave a tombstone there and say so, while the agent lives on elsewhere.
    if (home !== undefined && home !== audience) {
      throw new WireFault(body.case === 'spawn' ? 'agent-exists' : 'agent-unknown', `it is on ${home}`);
    }
  }

  private recordOf(command: ForeignCommand): CommandRecord {
    const { envelope, header, body, digest } = command;
    const nowMs = Date.now();
    const expiresAtMs = body.case === 'kill' ? nowMs + KILL_LIFETIME_MS : Number(header.expiresAtMs);
    return {
      id: header.id,
      kind: KINDS[body.case],
      instance: header.audience,
      agentId: agentOf(body),
      issuer: header.issuer,
      envelope,
      admission: this.admissions.admit(command),
      digest: toHex(digest),
      createdAt: new Date(nowMs),
      expiresAt: new Date(expiresAtMs),
      state: 'PENDING',
      deliveredAt: null,
      settledAt: null,
      refusal: null,
    };
  }

  private async issue(record: CommandRecord): Promise<Routed> {
    try {
      await this.store.add(record, record.issuer ?? '');
    } catch (error) {
      // Its agent may be that of the same command, which was here before this hub was started.
      const known = error instanceof WireFault ? await this.store.find(record.id) : undefined;
      if (known?.digest === record.digest) return { record: known, isRepeated: true };
      throw error;
    }
    if (record.kind === 'agent.spawn') {
      this.withdrawn.check(record);
      this.directory.keep(record.agentId, record.instance);
    }
    this.outbox.offer(record);
    return { record, isRepeated: false };
  }

  private async kill(record: CommandRecord): Promise<Routed> {
    // First on its way, then on paper.
    this.outbox.offer(record);
    await this.store.addKill(record, record.issuer ?? '');
    return { record, isRepeated: false };
  }

  /** From memory; from disk where that answers in time. */
  private async findSoon(id: string): Promise<CommandRecord | undefined> {
    const known = this.book.get(id);
    if (known !== undefined) return known;
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => {
      late.resolve(undefined);
    }, KILL_LOOKUP_MS);
    const found = this.store.find(id).catch(() => undefined);
    return Promise.race([found, late.promise]).finally(() => {
      clearTimeout(timer);
    });
  }
}

/** The same command again; its id never means another. @throws WireFault `replayed` */
function repeated(record: CommandRecord, { header, digest }: ForeignCommand): Routed {
  if (record.issuer !== header.issuer || record.digest !== toHex(digest)) {
    throw new WireFault('replayed', 'another command had this id');
  }
  return { record, isRepeated: true };
}

function checkTime(header: Header): void {
  const { audience, direction } = header;
  const nowMs = Date.now();
  checkHeader(header, { audience, direction, nowMs });
  if (header.expiresAtMs > BigInt(nowMs + LONGEST_LIFETIME_MS)) {
    throw new WireFault('payload-malformed', 'lives longer than a day');
  }
}
