import { AGENT_TRANSITIONS, isTerminal, type AgentId, type AgentStateName, type TaskId } from '@capstan/protocol';
import type { AgentStore } from '../src/valkey/agent.store.js';
import { TASK_STATE_OF_AGENT, type TaskStateName } from '../src/valkey/task-state.js';
import { planFor } from './plans.js';

/** One step that anybody may try, at any time, of one of the agents. */
export type Step =
  | { do: 'create'; agent: number }
  | { do: 'claim'; agent: number }
  | { do: 'move'; agent: number; to: AgentStateName; fence: 'none' | 'newest' | 'stale' }
  | { do: 'patch'; agent: number; fence: 'none' | 'newest' | 'stale' }
  | { do: 'forget'; agent: number };

interface Known {
  id: AgentId;
  task: TaskId;
  state: AgentStateName;
  fence: number | undefined;
  stale: number | undefined;
  attempts: number;
  revision: number;
}

/** A change as its event must tell it. */
export interface Expected {
  agentId: AgentId;
  revision: number;
  state: AgentStateName;
}

/** What the scripts must do, told in a dozen lines of TypeScript; each step is tried on both, and they must agree. */
export class AgentModel {
  readonly events: Expected[] = [];
  readonly taskStates = new Map<TaskId, TaskStateName>();
  readonly agents: Known[];
  private readonly alive = new Set<AgentId>();

  constructor(
    private readonly store: AgentStore,
    agents: number,
  ) {
    this.agents = Array.from({ length: agents }, () => {
      const { agentId, taskId } = planFor();
      return {
        id: agentId,
        task: taskId,
        state: 'queued',
        fence: undefined,
        stale: undefined,
        attempts: 0,
        revision: 0,
      };
    });
  }

  /** The agents that exist, and the state of each. */
  states(): Map<AgentId, AgentStateName> {
    return new Map(this.agents.filter(({ id }) => this.alive.has(id)).map(({ id, state }) => [id, state]));
  }

  async try(step: Step): Promise<void> {
    const known = this.agents[step.agent];
    if (known === undefined) throw new RangeError('no such agent');
    switch (step.do) {
      case 'create':
        return this.create(known);
      case 'claim':
        return this.claim(known);
      case 'move':
        return this.change(known, step.fence, step.to);
      case 'patch':
        return this.change(known, step.fence, undefined);
      case 'forget':
        return this.forget(known);
    }
  }

  private async create(known: Known): Promise<void> {
    const answer = await this.store.create(planFor({ agentId: known.id, taskId: known.task }), 'digest', 100);
    if (this.alive.has(known.id))
      return expect(answer).toMatchObject({ kind: 'exists', agent: { state: known.state } });
    this.alive.add(known.id);
    Object.assign(known, { fence: undefined, stale: undefined, attempts: 0, revision: 0 });
    this.enter(known, 'queued');
    expect(answer).toMatchObject({ kind: 'created', agent: { state: 'queued', revision: 1 } });
  }

  private async claim(known: Known): Promise<void> {
    const answer = await this.store.claim(known.id);
    if (!this.alive.has(known.id)) return expect(answer).toEqual({ kind: 'unknown' });
    if (known.state !== 'queued') return expect(answer).toEqual({ kind: 'refused', state: known.state });
    expect(answer).toMatchObject({ kind: 'claimed', attempt: known.attempts + 1 });
    if (answer.kind !== 'claimed') return;
    // A fencing token is greater than every one before it, of whichever agent.
    for (const other of this.agents) expect(answer.fence).toBeGreaterThan(other.fence ?? other.stale ?? 0);
    known.attempts += 1;
    known.fence = answer.fence;
    this.enter(known, 'spawning');
  }

  private async change(known: Known, hold: 'none' | 'newest' | 'stale', to: AgentStateName | undefined): Promise<void> {
    // A token that was never given out stands for a stale one where there is none yet.
    const fence = hold === 'none' ? undefined : hold === 'newest' ? (known.fence ?? 0) : (known.stale ?? 0);
    const answer = await this.store.change(known.id, {
      ...(fence === undefined ? {} : { fence }),
      ...(to === undefined ? { patch: { unsandboxed: false } } : { state: to }),
    });
    if (!this.alive.has(known.id)) return expect(answer).toEqual({ kind: 'unknown' });
    if (fence !== undefined && fence !== known.fence) return expect(answer).toEqual({ kind: 'fenced' });
    const isLegal = to === undefined ? !isTerminal(known.state) : AGENT_TRANSITIONS[known.state].includes(to);
    if (!isLegal) return expect(answer).toMatchObject({ kind: 'illegal', state: known.state });
    expect(answer).toMatchObject({ kind: 'changed', agent: { state: to ?? known.state } });
    if (to === 'queued') Object.assign(known, { stale: known.fence, fence: undefined });
    this.enter(known, to ?? known.state);
  }

  private async forget(known: Known): Promise<void> {
    await this.store.forget(known.id);
    if (!this.alive.has(known.id) || !isTerminal(known.state)) return;
    this.alive.delete(known.id);
    this.taskStates.delete(known.task);
  }

  private enter(known: Known, state: AgentStateName): void {
    known.state = state;
    known.revision += 1;
    this.taskStates.set(known.task, TASK_STATE_OF_AGENT[state]);
    this.events.push({ agentId: known.id, revision: known.revision, state });
  }
}
