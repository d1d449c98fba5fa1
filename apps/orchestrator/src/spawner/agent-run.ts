import type { AgentId, FaultCode } from '@capstan/protocol';
import type { BudgetCode } from '../gateway/index.js';
import { steadyNow } from '../monitor/steady-time.js';
import type { Inbox } from './inbox.js';
import type { SpawnPlan } from './spawn-plan.js';

/** Why the instance wants an agent to end before it ends by itself. */
export type EndIntent =
  /** Its owner or the hub ordered its death. */
  | { kind: 'killed' }
  /** It passed a limit, of which the hub's silence is one. */
  | { kind: 'limit'; code: Extract<FaultCode, 'agent-timeout' | 'agent-stalled' | 'lease-expired'> | BudgetCode }
  /** The orchestrator stops. */
  | { kind: 'lost' };

/** One agent that this process is starting, running or ending. */
export class AgentRun {
  private wanted: EndIntent | undefined;
  private readonly death = new AbortController();
  private readonly settling = Promise.withResolvers<void>();
  private readonly end = Promise.withResolvers<void>();
  /** Whose and what it is; known from its claim on, whether or not Valkey answers later. */
  plan: Pick<SpawnPlan, 'taskId' | 'tenant' | 'killEpochs'> | undefined;
  /** What the operator tells it; from its start on. */
  inbox: Inbox | undefined;
  /** Once true, there is no way back to the queue. */
  goGiven = false;
  /** Something of a failed start could not be undone: the sweep does it. */
  hasLeftovers = false;
  /** When it last printed a line or was answered by the model; before that, its start. Milliseconds of `steadyNow`. */
  progressAtMs = steadyNow();

  /** @param kill makes sure that the agent dies; called when the intent is to end it. */
  constructor(
    readonly agentId: AgentId,
    private readonly kill: (run: AgentRun) => void,
    private readonly onEnd: () => void,
  ) {}

  get intent(): EndIntent | undefined {
    return this.wanted;
  }

  /** Aborted when its death was ordered: nothing more of it goes out. */
  get killed(): AbortSignal {
    return this.death.signal;
  }

  /** Resolves once the agent's state is final, or it is queued again. */
  get settled(): Promise<void> {
    return this.settling.promise;
  }

  /** Resolves once it was cleaned up as well. */
  get closed(): Promise<void> {
    return this.end.promise;
  }

  /** It has done something that is to be seen. */
  progressed(): void {
    this.progressAtMs = steadyNow();
  }

  /** Notes why it is to end, without doing anything. An order to kill outranks every other reason; else the first stays. */
  intend(intent: EndIntent): void {
    if (this.wanted === undefined || intent.kind === 'killed') this.wanted = intent;
    if (intent.kind === 'killed') this.death.abort();
  }

  /** Ends the agent. */
  stop(intent: EndIntent): void {
    this.intend(intent);
    this.kill(this);
  }

  /** The agent's state was written. */
  markSettled(): void {
    this.settling.resolve();
  }

  /** Nothing of it is left here. */
  close(): void {
    this.onEnd();
    this.settling.resolve();
    this.end.resolve();
  }
}

/** The runs of this process, at most one per agent. */
export class AgentRuns {
  private readonly runs = new Map<AgentId, AgentRun>();

  /** undefined where the agent has a run already. */
  open(agentId: AgentId, kill: (run: AgentRun) => void): AgentRun | undefined {
    if (this.runs.has(agentId)) return undefined;
    const run = new AgentRun(agentId, kill, () => this.runs.delete(agentId));
    this.runs.set(agentId, run);
    return run;
  }

  get(agentId: AgentId): AgentRun | undefined {
    return this.runs.get(agentId);
  }

  all(): AgentRun[] {
    return [...this.runs.values()];
  }
}
