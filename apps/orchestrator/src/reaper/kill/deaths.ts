import { fromBase64 } from '@capstan/protocol';
import type { Journal } from '../journal/journal.js';
import type { AgentEntry, Register } from '../register/register.js';
import type { Cause, Death, Order, RegisterRecord } from '../register/record.js';
import { DeathWatch, type Sight } from './death-watch.js';
import type { ObservationSigner } from './observation.js';
import type { World } from './world.js';

/** What a caller is told about one agent. */
export type Verdict =
  { outcome: Death['outcome']; observation: Uint8Array; cause?: Cause } | { outcome: 'unconfirmed' };

export interface DeathsParts {
  register: Register;
  journal: Pick<Journal<RegisterRecord>, 'append' | 'settled'>;
  signer: ObservationSigner;
  world: World;
  report: (error: unknown) => void;
}

/** Brings agents to their end, and makes the signed record of it: one observation for each order. */
export class Deaths {
  private readonly watches = new Map<AgentEntry, { watch: DeathWatch; recorded: Promise<void> }>();

  constructor(private readonly parts: DeathsParts) {}

  /** Goes on with what was ordered before a restart, and records what ended meanwhile. */
  resume(): void {
    for (const entry of this.parts.register.living()) {
      if (entry.orders.length > 0) this.watch(entry).kill();
    }
    void this.sweep();
  }

  stop(): void {
    for (const { watch } of this.watches.values()) watch.stop();
  }

  /**
   * Kills an agent, or forbids its start if it was never seen. The signal is sent before this returns to the event
   * loop for the disk; a repeated order gets the answer that it got before.
   */
  async kill(agentId: string, order: Order | null, timeoutMs: number): Promise<Verdict> {
    const { register } = this.parts;
    const answered = order && register.answer(order, agentId);
    if (answered) {
      await this.parts.journal.settled();
      return verdict(answered);
    }
    const entry = register.agent(agentId);
    if (entry === undefined) return this.forbid(agentId, order);
    if (entry.death !== undefined) return this.killAgain(entry, order);
    const written = this.take(entry, order);
    const recorded = this.watching(entry).recorded;
    if (!(await within(timeoutMs, Promise.all([written, recorded])))) return { outcome: 'unconfirmed' };
    const death = order === null ? register.death(agentId) : register.answer(order, agentId);
    return death === undefined ? { outcome: 'unconfirmed' } : verdict(death);
  }

  /** Waits, without a signal, until the agent is gone; undefined if it was never registered. */
  async observe(agentId: string, timeoutMs: number): Promise<Verdict | undefined> {
    const { register } = this.parts;
    const entry = register.agent(agentId);
    if (entry === undefined) {
      const tombstone = register.tombstone(agentId);
      return tombstone && verdict(tombstone);
    }
    if (entry.death === undefined && !(await within(timeoutMs, this.watching(entry).recorded))) {
      return { outcome: 'unconfirmed' };
    }
    const death = register.death(agentId);
    return death === undefined ? { outcome: 'unconfirmed' } : verdict(death, causeOf(entry));
  }

  /** Kills an agent whose lease has ended; whoever ordered its death before that stays the reason of it. */
  async lapse(agentId: string): Promise<void> {
    const entry = this.parts.register.agent(agentId);
    if (entry === undefined || entry.death !== undefined || entry.orders.length > 0) return;
    await this.take(entry, null, 'lease-expired');
  }

  /** Records the end of agents that are gone without anybody having asked. */
  async sweep(): Promise<void> {
    const gone = this.parts.register.living().filter((entry) => this.isGone(entry));
    await Promise.allSettled(gone.map((entry) => this.watching(entry).recorded));
  }

  private take(entry: AgentEntry, order: Order | null, cause?: Cause): Promise<void> {
    const isNew = !entry.orders.some((taken) => sameOrder(taken.order, order));
    const written = isNew
      ? this.write({ kind: 'order', at: Date.now(), agentId: entry.agentId, order, ...(cause && { cause }) })
      : Promise.resolve();
    this.watch(entry).kill();
    return written;
  }

  private isGone({ handle }: AgentEntry): boolean {
    try {
      return this.parts.world.isGone(handle);
    } catch (error) {
      this.parts.report(error);
      return false;
    }
  }

  private watch(entry: AgentEntry): DeathWatch {
    return this.watching(entry).watch;
  }

  private watching(entry: AgentEntry): { watch: DeathWatch; recorded: Promise<void> } {
    const running = this.watches.get(entry);
    if (running !== undefined) return running;
    const watch = new DeathWatch(entry.handle, this.parts.world, this.parts.report);
    const recorded = watch.gone.then((sight) => this.record(entry, sight)).finally(() => this.watches.delete(entry));
    recorded.catch(this.parts.report);
    const started = { watch, recorded };
    this.watches.set(entry, started);
    return started;
  }

  private async record(entry: AgentEntry, sight: Sight): Promise<void> {
    const { agentId, handle, orders } = entry;
    const at = Date.now();
    const outcome = orders.length > 0 && sight.signalled ? 'killed' : 'already-gone';
    const seen = { outcome, ...times(sight), orderedAtMs: orders[0]?.at ?? 0 } as const;
    const commanded = orders.filter((taken): taken is { at: number; order: Order } => taken.order !== null);
    const answers = commanded.map(({ at: orderedAtMs, order }): RegisterRecord => {
      const death = this.parts.signer.sign(agentId, order, handle, { ...seen, orderedAtMs });
      return { kind: 'answer', at, agentId, order, death };
    });
    const own = answers.length > 0 ? { ...seen, observation: '' } : this.parts.signer.sign(agentId, null, handle, seen);
    await Promise.all(
      [...answers, { kind: 'end' as const, at, agentId, death: own }].map((record) => this.write(record)),
    );
  }

  /** A tombstone: whoever brings this agent to be registered later is refused. */
  private async forbid(agentId: string, order: Order | null): Promise<Verdict> {
    const { register, signer } = this.parts;
    const at = Date.now();
    const before = register.tombstone(agentId);
    if (before !== undefined && order === null) return verdict(before);
    const seen = {
      outcome: 'tombstoned',
      orderedAtMs: at,
      signalledAtMs: 0,
      observedAtMs: at,
      membersBefore: 0,
    } as const;
    const death = signer.sign(agentId, order, null, seen);
    const records: RegisterRecord[] = [];
    if (before === undefined) records.push({ kind: 'tombstone', at, agentId, death });
    if (order !== null) records.push({ kind: 'answer', at, agentId, order, death });
    // A tombstone that is not on disk would not survive a crash: until then nothing is promised.
    return (await this.writeAll(records)) ? verdict(death) : { outcome: 'unconfirmed' };
  }

  /** An agent that is known to be gone. Nothing is looked at again: its pids may be others' by now. */
  private async killAgain(entry: AgentEntry, order: Order | null): Promise<Verdict> {
    const { register, signer } = this.parts;
    const { agentId, handle } = entry;
    const death = register.death(agentId);
    if (death === undefined) return { outcome: 'unconfirmed' };
    const at = Date.now();
    const ordered: RegisterRecord[] = entry.orders.some((taken) => sameOrder(taken.order, order))
      ? []
      : [{ kind: 'order', at, agentId, order }];
    if (order === null) return (await this.writeAll(ordered)) ? verdict(death) : { outcome: 'unconfirmed' };
    const { observation: _, ...seen } = death;
    const answer = signer.sign(agentId, order, handle, { ...seen, outcome: 'already-gone', orderedAtMs: at });
    const records: RegisterRecord[] = [...ordered, { kind: 'answer', at, agentId, order, death: answer }];
    return (await this.writeAll(records)) ? verdict(answer) : { outcome: 'unconfirmed' };
  }

  private write(record: RegisterRecord): Promise<void> {
    this.parts.register.apply(record);
    return this.parts.journal.append(record);
  }

  private async writeAll(records: RegisterRecord[]): Promise<boolean> {
    const results = await Promise.allSettled(records.map((record) => this.write(record)));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) this.parts.report(failed.reason);
    return failed === undefined;
  }
}

function times({ signalledAtMs, observedAtMs, membersBefore }: Sight): Omit<Sight, 'signalled'> {
  return { signalledAtMs, observedAtMs, membersBefore };
}

function verdict(death: Death, cause?: Cause): Verdict {
  return { outcome: death.outcome, observation: fromBase64(death.observation), ...(cause && { cause }) };
}

/** Why the reaper killed it by itself; undefined where it ended alone or somebody's order came first. */
function causeOf({ orders, death }: AgentEntry): Cause | undefined {
  return death?.outcome === 'killed' ? orders[0]?.cause : undefined;
}

function sameOrder(a: Order | null, b: Order | null): boolean {
  return a === b || (a !== null && b !== null && a.issuer === b.issuer && a.id === b.id);
}

/** Whether the work was done in time; false if it failed or time passed. */
async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(false), ms)));
  try {
    return await Promise.race([
      work.then(
        () => true,
        () => false,
      ),
      late,
    ]);
  } finally {
    clearTimeout(timer);
  }
}
