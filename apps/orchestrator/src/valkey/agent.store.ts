import { randomUUID } from 'node:crypto';
import type { AgentId, AgentStateName, AgentView, TaskId } from '@capstan/protocol';
import type { Redis } from 'ioredis';
import type { SpawnPlan } from '../spawner/spawn-plan.js';
import { ADOPT, CHANGE, CLAIM, CREATE, FORGET, VIEW_FIELDS } from './agent.scripts.js';
import { CHANNELS, KEYS } from './keys.js';
import type { Script } from '@capstan/platform';
import type { StallNotice } from '../monitor/vitals.js';
import type { MessageNotice } from '../spawner/inbox.js';
import type { CompactionNotice } from '../spawner/supervisor.js';
import type { TaskView } from './task-state.js';

/** What may be changed in an agent besides its state. */
export type AgentPatch = Partial<Pick<AgentView, 'error' | 'harvest' | 'usage' | 'unsandboxed' | 'warnings'>>;

export type Created =
  | { kind: 'created'; agent: AgentView }
  /** `digest` is that of the order that made it. */
  | { kind: 'exists'; agent: AgentView; digest: string }
  | { kind: 'full' };

/** A worker's hold on an agent; void as soon as somebody else claims it. */
export interface Claim {
  agent: AgentView;
  plan: SpawnPlan;
  /** Fencing token. */
  fence: number;
  /** Which start this is, from 1. */
  attempt: number;
}

export type Claimed = ({ kind: 'claimed' } & Claim) | { kind: 'refused'; state: AgentStateName } | { kind: 'unknown' };

export type Changed =
  | { kind: 'changed'; agent: AgentView }
  /** The agent's state does not allow it. */
  | { kind: 'illegal'; state: AgentStateName; agent: AgentView }
  /** Another worker has claimed the agent since. */
  | { kind: 'fenced' }
  | { kind: 'unknown' };

export interface ChangeOptions {
  /** Demands that this is still the newest claim. */
  fence?: number;
  state?: AgentStateName;
  patch?: AgentPatch;
}

const NO_USAGE: AgentView['usage'] = {
  requests: 0,
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  costMicroUsd: 0,
};

/**
 * Agents and tasks in Valkey. Every change is one script: it checks the transition and the fencing token, writes,
 * raises the revision, appends the view to the stream and publishes it, or does nothing at all. A change whose reply is lost
 * with the connection is sent again by the client, and answered as the first time.
 */
export class AgentStore {
  constructor(
    private readonly client: Redis,
    private readonly now: () => number = Date.now,
  ) {}

  /** Makes an agent in the state queued; the same id never twice. @param mostLive how many may not have ended. */
  async create(plan: SpawnPlan, digest: string, mostLive: number): Promise<Created> {
    const nowMs = this.now();
    const fields = fragments({
      taskId: plan.taskId,
      state: 'queued',
      runtime: plan.runtime,
      queuedAt: new Date(nowMs).toISOString(),
      startedAt: null,
      completedAt: null,
      error: null,
      harvest: null,
      usage: NO_USAGE,
      unsandboxed: false,
      revision: 0,
      warnings: null,
    });
    const keys = [...agentKeys(plan.agentId, plan.taskId), KEYS.agents, KEYS.unqueued];
    const reply = await this.run(CREATE, keys, [
      plan.agentId,
      plan.taskId,
      nowMs,
      mostLive,
      digest,
      JSON.stringify(plan),
      randomUUID(),
      ...fields,
    ]);
    if (reply[0] === 'full') return { kind: 'full' };
    const agent = viewOf(reply[1]);
    return reply[0] === 'created' ? { kind: 'created', agent } : { kind: 'exists', agent, digest: String(reply[2]) };
  }

  /** queued → spawning, with a new fencing token. */
  async claim(id: AgentId): Promise<Claimed> {
    const task = await this.taskOf(id);
    if (task === undefined) return { kind: 'unknown' };
    const keys = [...agentKeys(id, task), KEYS.fence, KEYS.unqueued, KEYS.untidy];
    const reply = await this.run(CLAIM, keys, [id, this.now(), randomUUID()]);
    if (reply[0] === 'unknown') return { kind: 'unknown' };
    if (reply[0] === 'refused') return { kind: 'refused', state: reply[1] as AgentStateName };
    return { kind: 'claimed', ...claimOf(reply) };
  }

  /** Claims an agent that runs, for the process that takes it over; undefined where it does not run. */
  async adopt(id: AgentId): Promise<Claim | undefined> {
    const task = await this.taskOf(id);
    if (task === undefined) return undefined;
    const reply = await this.run(ADOPT, [...agentKeys(id, task), KEYS.fence], [id]);
    return reply[0] === 'adopted' ? claimOf(reply) : undefined;
  }

  /** Changes an agent. A state that AGENT_TRANSITIONS does not allow, and any change of an ended agent, is `illegal`. */
  async change(id: AgentId, { fence, state, patch = {} }: ChangeOptions): Promise<Changed> {
    const task = await this.taskOf(id);
    if (task === undefined) return { kind: 'unknown' };
    const nowMs = this.now();
    const fields = fragments({ ...patch, ...timeOf(state, nowMs) });
    const keys = [...agentKeys(id, task), KEYS.unqueued];
    const reply = await this.run(CHANGE, keys, [id, nowMs, fence ?? '', state ?? '', randomUUID(), ...fields]);
    switch (reply[0]) {
      case 'changed':
        return { kind: 'changed', agent: viewOf(reply[1]) };
      case 'illegal':
        return { kind: 'illegal', state: reply[1] as AgentStateName, agent: viewOf(reply[2]) };
      case 'fenced':
        return { kind: 'fenced' };
      default:
        return { kind: 'unknown' };
    }
  }

  async find(id: AgentId): Promise<AgentView | undefined> {
    return viewOfValues(await this.client.hmget(KEYS.agent(id), ...VIEW_FIELDS));
  }

  /** The agent and the digest of the order that made it. */
  async findOrder(id: AgentId): Promise<{ agent: AgentView; digest: string } | undefined> {
    const [digest, ...values] = await this.client.hmget(KEYS.agent(id), 'digest', ...VIEW_FIELDS);
    const agent = viewOfValues(values);
    return agent === undefined ? undefined : { agent, digest: digest ?? '' };
  }

  async findPlan(id: AgentId): Promise<SpawnPlan | undefined> {
    const plan = await this.client.hget(KEYS.agent(id), 'plan');
    return plan === null ? undefined : (JSON.parse(plan) as SpawnPlan);
  }

  async findTask(id: TaskId): Promise<TaskView | undefined> {
    const { taskId, agentId, state } = await this.client.hgetall(KEYS.task(id));
    if (taskId === undefined || agentId === undefined || state === undefined) return undefined;
    return { taskId, agentId, state: state as TaskView['state'] };
  }

  /**
   * Agents that are not forgotten, the newest first; undefined where `after` is not among them.
   *
   * @param limit at most this many. @param after goes on behind this agent.
   */
  async list(limit: number, after?: AgentId): Promise<AgentView[] | undefined> {
    const rank = after === undefined ? -1 : await this.client.zrevrank(KEYS.agents, after);
    if (rank === null) return undefined;
    const ids = (await this.client.zrevrange(KEYS.agents, rank + 1, rank + limit)) as AgentId[];
    if (ids.length === 0) return [];
    const pipeline = this.client.pipeline();
    for (const id of ids) pipeline.hmget(KEYS.agent(id), ...VIEW_FIELDS);
    const replies = (await pipeline.exec()) ?? [];
    return replies.flatMap(([error, values]) => {
      if (error !== null) throw error;
      return viewOfValues(values as (string | null)[]) ?? [];
    });
  }

  /** Agents that have not ended. */
  async live(): Promise<AgentId[]> {
    return (await this.client.smembers(KEYS.live)) as AgentId[];
  }

  /** Agents of a task that have not ended. */
  async liveOfTask(task: TaskId): Promise<AgentId[]> {
    const agents = await this.live();
    const tasks = await Promise.all(agents.map((id) => this.taskOf(id)));
    return agents.filter((_, at) => tasks[at] === task);
  }

  /** Agents that are spawning or running. */
  async startedAgents(): Promise<AgentId[]> {
    return (await this.client.smembers(KEYS.started)) as AgentId[];
  }

  /** Agents whose job is not yet known to be in the queue. */
  async unqueued(): Promise<AgentId[]> {
    return (await this.client.smembers(KEYS.unqueued)) as AgentId[];
  }

  /** The agent's job is in the queue. */
  async markQueued(id: AgentId): Promise<void> {
    await this.client.srem(KEYS.unqueued, id);
  }

  /** Agents that may have left something on disk. */
  async untidy(): Promise<AgentId[]> {
    return (await this.client.smembers(KEYS.untidy)) as AgentId[];
  }

  /** The agent may have left something on disk. */
  async markUntidy(id: AgentId): Promise<void> {
    await this.client.sadd(KEYS.untidy, id);
  }

  /** Nothing of the agent is left on disk; the event `cleaned` goes into the stream. */
  async markTidy(id: AgentId): Promise<void> {
    const cleaned = JSON.stringify({ agentId: id, cleanedAt: new Date(this.now()).toISOString() });
    const step = this.client.multi().srem(KEYS.untidy, id).xadd(KEYS.events, '*', 'cleaned', cleaned);
    await step.publish(CHANNELS.cleaned, cleaned).exec();
  }

  /** Puts a word about an agent's progress into the stream; the agent itself does not change. */
  async noticeStall(notice: StallNotice): Promise<void> {
    const json = JSON.stringify(notice);
    await this.client.multi().xadd(KEYS.events, '*', 'stall', json).publish(CHANNELS.stalls, json).exec();
  }

  /** Puts into the stream what has become of an operator's message. */
  async noticeMessage(notice: MessageNotice): Promise<void> {
    const json = JSON.stringify(notice);
    const field = `${notice.messageId} ${notice.agentId}`;
    const step = this.client.multi().xadd(KEYS.events, '*', 'message', json).publish(CHANNELS.messages, json);
    await (notice.state === 'waiting' ? step.hset(KEYS.unread, field, json) : step.hdel(KEYS.unread, field)).exec();
  }

  /** At the start of the process, whose memory holds no message: those that waited in its former life are missed. */
  async missUnread(): Promise<void> {
    const at = new Date(this.now()).toISOString();
    for (const json of Object.values(await this.client.hgetall(KEYS.unread)))
      await this.noticeMessage({ ...(JSON.parse(json) as MessageNotice), at, state: 'missed' });
  }

  /** Puts into the stream that an agent's conversation was summed up. */
  async noticeCompaction(notice: CompactionNotice): Promise<void> {
    const json = JSON.stringify(notice);
    await this.client.multi().xadd(KEYS.events, '*', 'compaction', json).publish(CHANNELS.compactions, json).exec();
  }

  /** Agents that ended before a moment. */
  async endedBefore(beforeMs: number, limit: number): Promise<AgentId[]> {
    return (await this.client.zrangebyscore(KEYS.ended, 0, beforeMs, 'LIMIT', 0, limit)) as AgentId[];
  }

  /** Removes the record of an ended agent; of any other it does nothing. */
  async forget(id: AgentId): Promise<void> {
    const task = await this.taskOf(id);
    if (task !== undefined) await this.run(FORGET, [...agentKeys(id, task), KEYS.agents], [id]);
  }

  /** An agent's task never changes, so it may be read apart from the script that needs its key. */
  private async taskOf(id: AgentId): Promise<TaskId | undefined> {
    const json = await this.client.hget(KEYS.agent(id), 'taskId');
    return json === null ? undefined : (JSON.parse(json) as TaskId);
  }

  private async run(script: Script, keys: string[], args: (string | number)[]): Promise<unknown[]> {
    const reply = await script.run(this.client, keys, args);
    return Array.isArray(reply) ? (reply as unknown[]) : [reply];
  }
}

/** From the reply of a script: kind, view, plan, fence, attempts. */
function claimOf([, agent, plan, fence, attempt]: unknown[]): Claim {
  return {
    agent: viewOf(agent),
    plan: JSON.parse(String(plan)) as SpawnPlan,
    fence: Number(fence),
    attempt: Number(attempt),
  };
}

function agentKeys(id: AgentId, task: TaskId): string[] {
  return [KEYS.agent(id), KEYS.task(task), KEYS.live, KEYS.ended, KEYS.events, KEYS.started];
}

function fragments(fields: Partial<AgentView>): string[] {
  return Object.entries(fields).flatMap(([field, value]) => [field, JSON.stringify(value)]);
}

function timeOf(state: AgentStateName | undefined, nowMs: number): Partial<AgentView> {
  const now = new Date(nowMs).toISOString();
  if (state === 'running') return { startedAt: now };
  return state === 'completed' || state === 'failed' || state === 'killed' ? { completedAt: now } : {};
}

function viewOf(json: unknown): AgentView {
  return JSON.parse(String(json)) as AgentView;
}

function viewOfValues(values: readonly (string | null)[]): AgentView | undefined {
  if (values[0] === null) return undefined;
  return Object.fromEntries(
    VIEW_FIELDS.map((field, at) => [field, JSON.parse(values[at] ?? 'null')]),
  ) as unknown as AgentView;
}
