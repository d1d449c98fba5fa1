import type { SigningKey } from '@capstan/identity';
import { bootId, type KillHandle } from '@capstan/sandbox';
import { Deaths, type Verdict } from './kill/deaths.js';
import { ObservationSigner } from './kill/observation.js';
import { thisHost, type World } from './kill/world.js';
import { Journal } from './journal/journal.js';
import { storeHandle, type Order, type RegisterRecord, type Scope } from './register/record.js';
import { Register, wasOrderedDead, type AgentEntry, type Refusal } from './register/register.js';

/** So many agents can be named in one reply to a kill-all. */
const MOST_AGENTS = 64;

export interface ReaperOptions {
  /** The register's journal. */
  file: string;
  instanceId: string;
  key: SigningKey;
  world?: World;
  areaBytes?: number;
  report: (error: unknown) => void;
}

export interface Registration {
  agentId: string;
  tenant: string;
  handle: KillHandle;
  admittedUnder: (scope: Scope) => bigint;
}

export type RegisterAnswer =
  | { kind: 'registered' }
  | { kind: 'forbidden'; code: Refusal | 'register-full' }
  | { kind: 'malformed'; sentence: string };

export type KillAllAnswer =
  | { kind: 'forbidden'; code: 'kill-epoch' }
  | { kind: 'observed'; epoch: bigint; agents: { agentId: string; verdict: Verdict }[] };

/** The reaper without its socket: registers agents before they start, kills them, observes that they are gone. */
export class Reaper {
  readonly bootId = bootId();
  private constructor(
    private readonly register: Register,
    private readonly journal: Journal<RegisterRecord>,
    private readonly deaths: Deaths,
    private readonly world: World,
    readonly publicKey: Uint8Array,
  ) {}

  /** Reads the register and goes on with what was ordered. Throws LocalFault `register-damaged`, `register-failed`. */
  static async open(options: ReaperOptions): Promise<Reaper> {
    const { file, instanceId, key, report, world = thisHost, areaBytes } = options;
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
    return new Reaper(register, journal, deaths, world, key.publicKey);
  }

  /** Registration is the point after which GO may be given, and the last at which an epoch or a tombstone forbids it. */
  async registerAgent(request: Registration): Promise<RegisterAnswer> {
    const { agentId, tenant, handle, admittedUnder } = request;
    const refusal = this.register.refusal(agentId, tenant, admittedUnder);
    if (refusal !== null) return { kind: 'forbidden', code: refusal };
    const before = this.register.agent(agentId);
    const isSame = before !== undefined && sameHandle(before.handle, handle);
    if (before !== undefined && before.death === undefined && !isSame) {
      return { kind: 'malformed', sentence: 'The agent is registered with another handle and lives.' };
    }
    const fault = this.world.handleFault(handle);
    if (fault !== null) return { kind: 'malformed', sentence: `The handle cannot be registered: ${fault}.` };
    if (!(await this.hasRoom())) return { kind: 'forbidden', code: 'register-full' };
    // The room may have taken a while to find.
    const late = this.register.refusal(agentId, tenant, admittedUnder);
    if (late !== null) return { kind: 'forbidden', code: late };
    const record: RegisterRecord = { kind: 'agent', at: Date.now(), agentId, tenant, handle: storeHandle(handle) };
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

  /** Raises the scope's epoch by exactly one, disarms it, and kills what lives in it. */
  async killAll(scope: Scope, epoch: bigint, order: Order | null, timeoutMs: number): Promise<KillAllAnswer> {
    const before = order && this.register.killAll(order);
    if (before)
      return { kind: 'observed', epoch: before.epoch, agents: await this.killEach(before.agents, order, timeoutMs) };
    if (epoch !== this.register.epoch(scope) + 1n) return { kind: 'forbidden', code: 'kill-epoch' };
    const at = Date.now();
    const agents = this.register.living(scope).map(({ agentId }) => agentId);
    const raised: RegisterRecord = { kind: 'epoch', at, scope, epoch: String(epoch) };
    const records: RegisterRecord[] = [raised];
    if (order !== null) records.push({ kind: 'kill-all', at, order, epoch: String(epoch), agents });
    for (const record of records) this.register.apply(record);
    // The signals do not wait for the disk; the answer does.
    const deaths = this.killEach(agents, order, timeoutMs);
    await Promise.all(records.map((record) => this.journal.append(record)));
    return { kind: 'observed', epoch, agents: await deaths };
  }

  /** The owner's order: spawns that are admitted from now on may start again. */
  async rearm(scope: Scope): Promise<void> {
    const record: RegisterRecord = { kind: 'rearmed', at: Date.now(), scope };
    this.register.apply(record);
    await this.journal.append(record);
  }

  /** Kill epochs, and the agents that were not yet observed gone. */
  describe(): { epochs: ReturnType<Register['epochList']>; agents: AgentEntry[] } {
    return { epochs: this.register.epochList(), agents: this.register.living() };
  }

  async close(): Promise<void> {
    this.deaths.stop();
    await this.journal.close();
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
    return this.register.living().length < MOST_AGENTS && !this.journal.isReserved;
  }
}

function sameHandle(a: KillHandle, b: KillHandle): boolean {
  return JSON.stringify(storeHandle(a)) === JSON.stringify(storeHandle(b));
}
