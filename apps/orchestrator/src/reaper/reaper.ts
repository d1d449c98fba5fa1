import { KeyRing, type SigningKey } from '@capstan/identity';
import { fromBase64 } from '@capstan/protocol';
import { bootId, type KillHandle } from '@capstan/sandbox';
import { Deaths, type Verdict } from './kill/deaths.js';
import { ObservationSigner } from './kill/observation.js';
import { signKillAll, type KillAllSaid } from './kill/kill-all-statement.js';
import { signProbeAnswer } from './kill/probe-answer.js';
import { thisHost, type World } from './kill/world.js';
import { Journal } from './journal/journal.js';
import { hostClock, type Clock } from './lease/clock.js';
import { Leases } from './lease/leases.js';
import { replaceHubKey } from './lease/replace-hub-key.js';
import { storeHandle, type Order, type RegisterRecord, type Scope } from './register/record.js';
import { Register, wasOrderedDead, type AgentEntry, type KillAllEntry, type Refusal } from './register/register.js';

/** So many agents, handles included, can be named in one reply of 64 KiB. */
const MOST_AGENTS = 128;

export interface ReaperOptions {
  /** The register's journal. */
  file: string;
  instanceId: string;
  key: SigningKey;
  /** Whose renewals of leases count; by default nobody's. */
  hubKeys?: KeyRing;
  /** Writes them, once one was replaced; by default they are kept in memory only. */
  saveHubKeys?: (keys: KeyRing) => Promise<void>;
  world?: World;
  clock?: Clock;
  areaBytes?: number;
  report: (error: unknown) => void;
}

export interface Registration {
  agentId: string;
  tenant: string;
  handle: KillHandle;
  admittedUnder: (scope: Scope) => bigint;
  /** Milliseconds without a renewal after which the reaper kills it; 0, the default, where it lives on without the hub. */
  killAfterMs?: number;
}

export type RegisterAnswer =
  | { kind: 'registered' }
  | { kind: 'forbidden'; code: Refusal | 'lease-expired' | 'register-full' }
  | { kind: 'malformed'; sentence: string };

export type KillAllAnswer =
  | { kind: 'forbidden'; code: 'kill-epoch' }
  | {
      kind: 'observed';
      epoch: bigint;
      agents: { agentId: string; verdict: Verdict }[];
      /** A serialized Envelope with a KillAllStatement; empty for the owner's own order. */
      statement: Uint8Array;
    };

export type RearmAnswer = { kind: 'forbidden'; code: 'kill-epoch' | 'disarmed' } | { kind: 'rearmed'; epoch: bigint };

/** The reaper without its socket: registers agents before they start, kills them, observes that they are gone. */
export class Reaper {
  readonly bootId = bootId();
  readonly publicKey: Uint8Array;

  private constructor(
    private readonly register: Register,
    private readonly journal: Journal<RegisterRecord>,
    private readonly deaths: Deaths,
    private readonly leases: Leases,
    private readonly world: World,
    private readonly instanceId: string,
    private readonly key: SigningKey,
    private readonly hub: { keys: KeyRing; save: (keys: KeyRing) => Promise<void>; clock: Clock },
    private readonly report: (error: unknown) => void,
  ) {
    this.publicKey = key.publicKey;
  }

  /** Reads the register and goes on with what was ordered. Throws LocalFault `register-damaged`, `register-failed`. */
  static async open(options: ReaperOptions): Promise<Reaper> {
    const { file, instanceId, key, report, world = thisHost, areaBytes } = options;
    const { hubKeys: keys = new KeyRing(), clock = hostClock } = options;
    const register = new Register();
    const snapshot = () => register.snapshot();
    const { journal, records, torn } = await Journal.open<RegisterRecord>(file, {
      snapshot,
      ...(areaBytes !== undefined && { areaBytes }),
    });
    for (const record of records) register.apply(record);
    if (torn) report(new Error('the last write before the restart was not whole; nobody had been told of it'));
    const signer = new ObservationSigner(key, instanceId, bootId());
    const deaths = new Deaths({ register, journal, signer, world, report });
    deaths.resume();
    const leases = new Leases({ register, journal, deaths, keys, instanceId, clock, report });
    leases.start();
    const hub = { keys, save: options.saveHubKeys ?? (() => Promise.resolve()), clock };
    return new Reaper(register, journal, deaths, leases, world, instanceId, key, hub, report);
  }

  /** Registration is the point after which GO may be given, and the last at which an epoch or a tombstone forbids it. */
  async registerAgent(request: Registration): Promise<RegisterAnswer> {
    const { agentId, tenant, handle, admittedUnder, killAfterMs = 0 } = request;
    const refusal = this.register.refusal(agentId, tenant, admittedUnder);
    if (refusal !== null) return { kind: 'forbidden', code: refusal };
    if (!this.leases.allowsStart(killAfterMs)) return { kind: 'forbidden', code: 'lease-expired' };
    const before = this.register.agent(agentId);
    const isSame = before !== undefined && sameHandle(before.handle, handle) && before.killAfterMs === killAfterMs;
    if (before !== undefined && before.death === undefined && !isSame) {
      return { kind: 'malformed', sentence: 'The agent is registered with another handle or lease and lives.' };
    }
    const fault = this.world.handleFault(handle);
    if (fault !== null) return { kind: 'malformed', sentence: `The handle cannot be registered: ${fault}.` };
    if (!(await this.hasRoom())) return { kind: 'forbidden', code: 'register-full' };
    // The room may have taken a while to find.
    const late = this.register.refusal(agentId, tenant, admittedUnder);
    if (late !== null) return { kind: 'forbidden', code: late };
    const stored = storeHandle(handle);
    const record: RegisterRecord = { kind: 'agent', at: Date.now(), agentId, tenant, handle: stored, killAfterMs };
    if (!isSame || before.death !== undefined) this.register.apply(record);
    const entry = this.register.agent(agentId);
    await this.journal.append(record);
    // A kill that came while the disk was written has killed this agent: GO must not be given.
    if (entry === undefined || wasOrderedDead(entry) || this.register.agent(agentId) !== entry) {
      return { kind: 'forbidden', code: 'tombstoned' };
    }
    return { kind: 'registered' };
  }

  /** Undefined if the agent was never seen. */
  observe(agentId: string, timeoutMs: number): Promise<Verdict | undefined> {
    return this.deaths.observe(agentId, timeoutMs);
  }

  kill(agentId: string, order: Order | null, timeoutMs: number): Promise<Verdict> {
    return this.deaths.kill(agentId, order, timeoutMs);
  }

  /**
   * Raises the scope's epoch by exactly one, disarms it, and kills what lives in it.
   *
   * @throws LocalFault `register-failed` where no disk has it, however often it is asked for
   */
  async killAll(scope: Scope, epoch: bigint, order: Order | null, timeoutMs: number): Promise<KillAllAnswer> {
    const before = order && this.register.killAll(order);
    if (before) return this.killAllAgain(before, order, timeoutMs);
    if (epoch !== this.register.epoch(scope) + 1n) return { kind: 'forbidden', code: 'kill-epoch' };
    const at = Date.now();
    const agents = this.register.living(scope).map(({ agentId }) => agentId);
    const raised: RegisterRecord = { kind: 'epoch', at, scope, epoch: String(epoch), isOwners: order === null };
    const records: RegisterRecord[] = [raised];
    const statement = order === null ? '' : this.stateKillAll(order, { scope, epoch, agents, raisedAtMs: at });
    if (order !== null) records.push({ kind: 'kill-all', at, order, epoch: String(epoch), agents, statement });
    for (const record of records) this.register.apply(record);
    // The signals do not wait for the disk; the answer does.
    const deaths = this.killEach(agents, order, timeoutMs);
    await Promise.all(records.map((record) => this.journal.append(record)));
    return { kind: 'observed', epoch, agents: await deaths, statement: fromBase64(statement) };
  }

  /**
   * Spawns that are admitted from now on may start again. The owner's own order (`epoch` null) always holds. Another's
   * must name the current epoch, so that an order from before the last kill-all re-arms nothing, and what the owner has
   * stopped it leaves stopped.
   */
  async rearm(scope: Scope, epoch: bigint | null): Promise<RearmAnswer> {
    const current = this.register.epoch(scope);
    if (epoch !== null && (epoch === 0n || epoch !== current)) return { kind: 'forbidden', code: 'kill-epoch' };
    if (epoch !== null && this.register.isOwners(scope)) return { kind: 'forbidden', code: 'disarmed' };
    const record: RegisterRecord = { kind: 'rearmed', at: Date.now(), scope };
    this.register.apply(record);
    await this.journal.append(record);
    return { kind: 'rearmed', epoch: current };
  }

  /**
   * What a kill would need, without a signal: this process, its disk, its key. A serialized Envelope with a ProbeAnswer.
   *
   * @throws LocalFault `register-failed` where a kill could not be written either
   */
  async probe(nonce: Uint8Array, commandDigest: Uint8Array): Promise<Uint8Array> {
    const takenAtMs = Date.now();
    await this.journal.append({ kind: 'probe', at: takenAtMs });
    const livingAgents = this.register.living().length;
    const said = { instanceId: this.instanceId, nonce, commandDigest, takenAtMs, bootId: this.bootId, livingAgents };
    return signProbeAnswer(this.key, said);
  }

  /** Kill epochs, and the agents that were not yet observed gone. */
  describe(): { epochs: ReturnType<Register['epochList']>; agents: (AgentEntry & { leaseUntilMs: number })[] } {
    const agents = this.register.living().map((entry) => ({ ...entry, leaseUntilMs: this.leases.untilMs(entry) }));
    return { epochs: this.register.epochList(), agents };
  }

  /** Takes a renewal as the hub signed it; until when it holds, see `Leases.renew`. @throws {WireFault} why it does not */
  renew(renewal: Uint8Array): Promise<number> {
    return this.leases.renew(renewal);
  }

  /** Takes the hub's word that its key is replaced. @throws {WireFault} as `replaceHubKey` */
  replaceHubKey(statement: Uint8Array): Promise<void> {
    const { keys, save, clock } = this.hub;
    return replaceHubKey(statement, keys, clock().wallMs, save);
  }

  async close(): Promise<void> {
    this.leases.stop();
    this.deaths.stop();
    await this.journal.close();
  }

  /** Says of a repeated order what was said the first time, once that is on disk. @throws LocalFault `register-failed` */
  private async killAllAgain(said: KillAllEntry, order: Order | null, timeoutMs: number): Promise<KillAllAnswer> {
    const { epoch, statement } = said;
    const agents = await this.killEach(said.agents, order, timeoutMs);
    await this.journal.settled();
    return { kind: 'observed', epoch, agents, statement: fromBase64(statement) };
  }

  private stateKillAll(order: Order, raised: Pick<KillAllSaid, 'scope' | 'epoch' | 'agents' | 'raisedAtMs'>): string {
    return signKillAll(this.key, { ...raised, order, instanceId: this.instanceId, bootId: this.bootId });
  }

  private killEach(
    agents: string[],
    order: Order | null,
    timeoutMs: number,
  ): Promise<{ agentId: string; verdict: Verdict }[]> {
    return Promise.all(
      agents.map(async (agentId) => ({ agentId, verdict: await this.deaths.kill(agentId, order, timeoutMs) })),
    );
  }

  private async hasRoom(): Promise<boolean> {
    if (this.register.living().length >= MOST_AGENTS) await this.deaths.sweep();
    // A disk that has failed may be well again.
    if (this.journal.isReserved) await this.journal.settled().catch(this.report);
    return this.register.living().length < MOST_AGENTS && !this.journal.isReserved;
  }
}

function sameHandle(a: KillHandle, b: KillHandle): boolean {
  return JSON.stringify(storeHandle(a)) === JSON.stringify(storeHandle(b));
}
