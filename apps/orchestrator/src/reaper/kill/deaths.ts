import { fromBase64, LocalFault } from '@capstan/protocol';
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
  journal: Pick<Journal<RegisterRecord>, 'append' | 'settled' | 'isCrowded'>;
  signer: ObservationSigner;
  world: World;
  report: (error: unknown) => void;
}

const UNCONFIRMED = { outcome: 'unconfirmed' } as const;

/** Brings agents to their end, and makes the signed record of it: one observation for each order. */
export class Deaths {
  private readonly watches = new Map<AgentEntry, { watch: DeathWatch; recorded: Promise<void> }>();
  private wasCrowded = false;

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
   * loop for the disk; a repeated order gets the answer that it got before. What no disk has is `unconfirmed`, however
   * often it is asked for; so is the kill of an agent that was never seen while the register is crowded.
   */
  async kill(agentId: string, order: Order | null, timeoutMs: number): Promise<Verdict> {
    const { register } = this.parts;
    const answered = order && register.answer(order, agentId);
    if (answered) {
      return this.confirmed(answered);
    }
    const entry = register.agent(agentId);
    if (entry === undefined) return this.forbid(agentId, order);
    if (entry.death !== undefined) return this.killAgain(entry, order);
    const written = this.take(entry, order);
    const recorded = this.watching(entry).recorded;
    if (!(await within(timeoutMs, Promise.all([written, recorded])))) return UNCONFIRMED;
    const death = order === null ? register.death(agentId) : register.answer(order, agentId);
    // Recorded: on disk.
    return death === undefined ? UNCONFIRMED : verdict(death);
  }

  /** Waits, without a signal, until the agent is gone; undefined if it was never registered. */
  async observe(agentId: string, timeoutMs: number): Promise<Verdict | undefined> {
    const { register } = this.parts;
    const entry = register.agent(agentId);
    if (entry === undefined) {
      const tombstone = register.tombstone(agentId);
      return tombstone && this.confirmed(tombstone);
    }
    if (entry.death === undefined && !(await within(timeoutMs, this.watching(entry).recorded))) {
      return UNCONFIRMED;
    }
    const death = register.death(agentId);
    return death === undefined ? UNCONFIRMED : this.confirmed(death, causeOf(entry));
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
    const isNew = !entry.orders.some((taken) => sameOrder(taken.order, order)) && this.storesOrder(entry);
    const written = isNew
      ? this.write({ kind: 'order', at: Date.now(), agentId: entry.agentId, order, ...(cause && { cause }) })
      : Promise.resolve();
    this.watch(entry).kill();
    return written;
  }

  /** The first order stops an agent for ever; later ones are kept for the answers to them alone. */
  private storesOrder({ orders }: AgentEntry): boolean {
    return orders.length === 0 || !this.isCrowded();
  }

  /** Orders that come without end, each with another id, must leave room for deaths and kill-alls. */
  private isCrowded(): boolean {
    const { isCrowded } = this.parts.journal;
    if (isCrowded && !this.wasCrowded) {
      const sentence = 'The register is crowded: agents that were never seen cannot be stopped in advance.';
      this.parts.report(new LocalFault('register-full', sentence));
    }
    this.wasCrowded = isCrowded;
    return isCrowded;
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
    if (before !== undefined && order === null) return this.confirmed(before);
    const isCrowded = this.isCrowded();
    // Nothing is promised: the order stays open, and ends the agent if it is registered.
    if (before === undefined && isCrowded) return UNCONFIRMED;
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
    if (order !== null && !isCrowded) records.push({ kind: 'answer', at, agentId, order, death });
    // A tombstone that is not on disk would not survive a crash: until then nothing is promised.
    return this.written(records, death);
  }

  /** An agent that is known to be gone. Nothing is looked at again: its pids may be others' by now. */
  private async killAgain(entry: AgentEntry, order: Order | null): Promise<Verdict> {
    const { register, signer } = this.parts;
    const { agentId, handle } = entry;
    const death = register.death(agentId);
    if (death === undefined) return UNCONFIRMED;
    const at = Date.now();
    const isStored = this.storesOrder(entry);
    const isNew = !entry.orders.some((taken) => sameOrder(taken.order, order));
    const ordered: RegisterRecord[] = isNew && isStored ? [{ kind: 'order', at, agentId, order }] : [];
    if (order === null) return this.written(ordered, death);
    const { observation: _, ...seen } = death;
    const answer = signer.sign(agentId, order, handle, { ...seen, outcome: 'already-gone', orderedAtMs: at });
    const answers: RegisterRecord[] = isStored ? [{ kind: 'answer', at, agentId, order, death: answer }] : [];
    return this.written([...ordered, ...answers], answer);
  }

  private write(record: RegisterRecord): Promise<void> {
    this.parts.register.apply(record);
    return this.parts.journal.append(record);
  }

  private async written(records: RegisterRecord[], death: Death): Promise<Verdict> {
    const results = await Promise.allSettled(records.map((record) => this.write(record)));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed === undefined) return this.confirmed(death);
    this.parts.report(failed.reason);
    return UNCONFIRMED;
  }

  /** What is known of a death, once all of that is on disk. */
  private async confirmed(death: Death, cause?: Cause): Promise<Verdict> {
    try {
      await this.parts.journal.settled();
    } catch (error) {
      this.parts.report(error);
      return UNCONFIRMED;
    }
    return verdict(death, cause);
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
