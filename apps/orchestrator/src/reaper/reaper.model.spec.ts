import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyRecord, KeyRing, openEnvelope, SigningKey } from '@capstan/identity';
import { decodeEnvelope, Direction, ProbeAnswerSchema } from '@capstan/protocol';
import { bootId, type KillHandle } from '@capstan/sandbox';
import fc from 'fast-check';
import { proves } from '../../../../test/support/proves.js';
import type { World } from './kill/world.js';
import { Reaper } from './reaper.js';
import type { Order, Scope } from './register/record.js';

/** A host whose agents die when they are signalled, a moment later. */
class PlayedWorld implements World {
  readonly living = new Set<string>();
  private next = 1000;

  create(): KillHandle {
    const pid = (this.next += 2);
    this.living.add(String(pid));
    const processes = [pid, pid + 1].map((it) => ({ pid: it, startTicks: BigInt(it) }));
    return { driver: 'bubblewrap', bootId: bootId(), processes, pidNamespace: BigInt(pid), cgroup: '' };
  }

  handleFault = (handle: KillHandle) => (this.isGone(handle) ? 'the launcher is gone' : null);
  isGone = (handle: KillHandle) => !this.living.has(String(handle.processes[0]?.pid));
  countMembers = (handle: KillHandle) => (this.isGone(handle) ? 0 : 2);
  async signal(handle: KillHandle): Promise<void> {
    await Promise.resolve();
    this.living.delete(String(handle.processes[0]?.pid));
  }
}

/** A step; with `late` it begins when the one before it is already under way. */
type Step = { late: boolean } & Act;
type Act =
  | { do: 'admit'; agent: number; tenant: number }
  | { do: 'start'; agent: number }
  | { do: 'kill'; agent: number }
  | { do: 'end'; agent: number }
  | { do: 'kill-all'; scope: number; by: -1 | 0 | 1 | 2 }
  | { do: 'owner-kill-all'; scope: number }
  /** By the owner where `by` is null; else by a command that names an epoch so far from the current one. */
  | { do: 'rearm'; scope: number; by: null | -1 | 0 | 1 }
  | { do: 'probe'; nonce: number }
  | { do: 'restart' };

const SCOPES: Scope[] = [
  { scope: 'mesh', id: '' },
  { scope: 'instance', id: '' },
  { scope: 'tenant', id: 'tenant-0' },
  { scope: 'tenant', id: 'tenant-1' },
];

const agent = fc.nat({ max: 5 });
const scope = fc.nat({ max: SCOPES.length - 1 });
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('admit' as const), agent, tenant: fc.nat({ max: 1 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('start' as const), agent }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('kill' as const), agent }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end' as const), agent }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('kill-all' as const),
      scope,
      by: fc.constantFrom<-1 | 0 | 1 | 2>(1, 1, 1, 0, 2, -1),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('owner-kill-all' as const), scope }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('rearm' as const),
      scope,
      by: fc.constantFrom<null | -1 | 0 | 1>(null, 0, 0, 1, -1),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('probe' as const), nonce: fc.nat({ max: 255 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
);

const step: fc.Arbitrary<Step> = fc.tuple(act, fc.boolean()).map(([it, late]) => ({ ...it, late }));

interface Admission {
  tenant: string;
  /** Epochs at the time of admission, in the order of SCOPES. */
  epochs: bigint[];
}

/** Runs the steps of one history against a real register on disk and a played host, beside a model of the promises. */
class History {
  private readonly world = new PlayedWorld();
  private readonly epochs = SCOPES.map(() => 0n);
  private readonly armed = SCOPES.map(() => true);
  /** Stopped by the owner himself: no command re-arms it. */
  private readonly owners = SCOPES.map(() => false);
  private readonly admissions = new Map<string, Admission>();
  private readonly killed = new Set<string>();
  private readonly handles = new Map<string, KillHandle>();
  private orders = 0;

  private constructor(
    private readonly file: string,
    private readonly key: SigningKey,
    private reaper: Reaper,
  ) {}

  static async run(file: string, turns: Step[][]): Promise<void> {
    const key = SigningKey.generate();
    const history = new History(file, key, undefined as unknown as Reaper);
    history.reaper = await history.open();
    // The steps of one turn are under way at the same time.
    for (const turn of turns) {
      const restart = turn.some((it) => it.do === 'restart');
      const running: Promise<void>[] = [];
      for (const it of turn) {
        if (it.late) await new Promise((resolve) => setImmediate(resolve));
        running.push(history.take(it));
      }
      await Promise.all(running);
      if (restart) await history.restart();
      await history.check();
    }
    await history.reaper.close();
  }

  private open(): Promise<Reaper> {
    const { file, key, world } = this;
    const report = (error: unknown) => {
      throw error;
    };
    return Reaper.open({ file, instanceId: 'harbor', key, world, areaBytes: 256 * 1024, report });
  }

  private async restart(): Promise<void> {
    await this.reaper.close();
    this.reaper = await this.open();
  }

  private order(): Order {
    return { issuer: 'hub', id: `order-${String(++this.orders)}`, digest: '00'.repeat(32) };
  }

  private async take(it: Step): Promise<void> {
    switch (it.do) {
      case 'admit':
        this.admissions.set(name(it.agent), { tenant: `tenant-${String(it.tenant)}`, epochs: [...this.epochs] });
        return;
      case 'start':
        return this.start(name(it.agent));
      case 'kill':
        return this.kill(name(it.agent));
      case 'end': {
        const handle = this.handles.get(name(it.agent));
        if (handle !== undefined) this.world.living.delete(String(handle.processes[0]?.pid));
        return;
      }
      case 'kill-all':
        return this.killAll(it.scope, it.by);
      case 'owner-kill-all':
        return this.ownerKillAll(it.scope);
      case 'rearm':
        return this.rearm(it.scope, it.by);
      case 'probe':
        return this.probe(it.nonce);
      case 'restart':
    }
  }

  /** What an orchestrator does: create, register, and only then GO. */
  private async start(agentId: string): Promise<void> {
    const admission = this.admissions.get(agentId);
    if (admission === undefined) return;
    const handle = this.world.create();
    const admittedUnder = (asked: Scope): bigint => {
      const index = SCOPES.findIndex((one) => one.scope === asked.scope && one.id === asked.id);
      return index === -1 ? 0n : at(admission.epochs, index);
    };
    const answer = await this.reaper.registerAgent({ agentId, tenant: admission.tenant, handle, admittedUnder });
    if (answer.kind === 'registered') {
      // At this very moment nothing may forbid the agent.
      expect(this.forbids(agentId, admission)).toBe(false);
      this.handles.set(agentId, handle);
    } else {
      this.world.living.delete(String(handle.processes[0]?.pid));
    }
  }

  private forbids(agentId: string, { tenant, epochs }: Admission): boolean {
    const mine = SCOPES.map((one, index) => ({ one, index })).filter(({ one }) => one.id === '' || one.id === tenant);
    const outdated = mine.some(({ index }) => at(epochs, index) < at(this.epochs, index));
    return this.killed.has(agentId) || outdated || mine.some(({ index }) => !at(this.armed, index));
  }

  private async kill(agentId: string): Promise<void> {
    const order = this.order();
    this.killed.add(agentId);
    const first = await this.reaper.kill(agentId, order, 1000);
    expect(first.outcome).not.toBe('unconfirmed');
    expect(await this.reaper.kill(agentId, order, 1000)).toEqual(first);
  }

  private async killAll(index: number, by: bigint | number): Promise<void> {
    const epoch = at(this.epochs, index) + BigInt(by);
    const order = this.order();
    const answered = this.reaper.killAll(at(SCOPES, index), epoch < 0n ? 0n : epoch, order, 1000);
    if (by === 1) {
      this.epochs[index] = epoch;
      this.armed[index] = false;
    }
    const answer = await answered;
    expect(answer.kind).toBe(by === 1 ? 'observed' : 'forbidden');
    if (answer.kind !== 'observed') return;
    for (const { agentId, verdict } of answer.agents) {
      expect(verdict.outcome).not.toBe('unconfirmed');
      this.killed.add(agentId);
    }
    expect(await this.reaper.killAll(at(SCOPES, index), epoch, order, 1000)).toEqual(answer);
  }

  private async ownerKillAll(index: number): Promise<void> {
    const epoch = at(this.epochs, index) + 1n;
    const answered = this.reaper.killAll(at(SCOPES, index), epoch, null, 1000);
    this.epochs[index] = epoch;
    this.armed[index] = false;
    this.owners[index] = true;
    const answer = await answered;
    if (answer.kind !== 'observed') throw new Error('the owner was refused');
    for (const { agentId } of answer.agents) this.killed.add(agentId);
  }

  private async rearm(index: number, by: null | -1 | 0 | 1): Promise<void> {
    const current = at(this.epochs, index);
    const named = by === null ? null : current + BigInt(by);
    const holds = named === null || (named === current && current > 0n && !at(this.owners, index));
    const answered = this.reaper.rearm(at(SCOPES, index), named === -1n ? 0n : named);
    if (holds) {
      this.armed[index] = true;
      this.owners[index] = false;
    }
    expect((await answered).kind).toBe(holds ? 'rearmed' : 'forbidden');
  }

  /** Kills nobody, and says what is so. */
  private async probe(number: number): Promise<void> {
    const nonce = new Uint8Array(32).fill(number);
    const commandDigest = new Uint8Array(32).fill(255 - number);
    const envelope = decodeEnvelope(await this.reaper.probe(nonce, commandDigest));
    const keys = new KeyRing([keyRecord('harbor', this.key.publicKey, ['observe'])]);
    const want = { kind: 'probe', purpose: 'observe', keys, audience: 'harbor', direction: Direction.LOCAL } as const;
    const { payload } = openEnvelope(envelope, ProbeAnswerSchema, { ...want, nowMs: Date.now() });
    expect(payload).toMatchObject({ nonce, commandDigest, bootId: bootId() });
    expect(payload.livingAgents).toBeLessThanOrEqual(6);
  }

  /** Between turns: whoever lives was admitted under today's epochs, and no order to kill it was given. */
  private async check(): Promise<void> {
    for (const [agentId, handle] of this.handles) {
      if (this.world.isGone(handle)) continue;
      expect(this.killed.has(agentId)).toBe(false);
      const registered = this.reaper.describe().agents.find((entry) => entry.agentId === agentId);
      expect(registered?.handle).toEqual(handle);
    }
    const told = new Map(this.reaper.describe().epochs.map((entry) => [JSON.stringify(entry.scope), entry]));
    for (const [index, one] of SCOPES.entries()) {
      const entry = told.get(JSON.stringify(one));
      expect([entry?.epoch ?? 0n, entry?.armed ?? true]).toEqual([this.epochs[index], this.armed[index]]);
    }
    await Promise.resolve();
  }
}

function name(agentNumber: number): string {
  return `agent-${String(agentNumber)}`;
}

function at<T>(all: readonly T[], index: number): T {
  const found = all[index];
  if (found === undefined) throw new RangeError(String(index));
  return found;
}

describe('the reaper as a model', () => {
  let room: string;
  beforeEach(() => (room = mkdtempSync(join(tmpdir(), 'capstan-model-'))));
  afterEach(() => rmSync(room, { recursive: true }));

  it(
    'lets nothing spawn after kill epoch E, in any history of starts, kills, re-arming and restarts',
    proves('ORC-117', async () => {
      let run = 0;
      const turns = fc.array(fc.array(step, { minLength: 1, maxLength: 3 }), { maxLength: 15 });
      await fc.assert(
        fc.asyncProperty(turns, (history) => History.run(join(room, `register-${String(run++)}`), history)),
        { numRuns: 150 },
      );
    }),
    60_000,
  );
});
