import { setTimeout as delay } from 'node:timers/promises';
import type { AuditLog } from '@capstan/evidence';
import type { Logger } from '@capstan/platform';
import { isTerminal, type AgentId, type AgentStateName, type AgentView } from '@capstan/protocol';
import type { AgentPatch, AgentStore, Changed, ChangeOptions } from '../valkey/agent.store.js';

const RETRY_MS = 1000;

/** A state that an agent does not leave, or that gives it back to the queue. */
export interface Settled {
  state: Extract<AgentStateName, 'queued' | 'completed' | 'failed' | 'killed'>;
  patch?: AgentPatch;
  fence?: number;
  /** For the audit log. */
  detail?: Record<string, string>;
}

/** Writes that agents run, and how they ended: until Valkey has it, and their ends into the audit log. */
export class Settlement {
  /** Called for each agent that has ended. */
  onEnd: (agentId: AgentId) => void = () => undefined;

  constructor(
    private readonly store: AgentStore,
    private readonly audit: AuditLog,
    private readonly logger: Logger,
    private readonly signal: AbortSignal,
  ) {}

  /** The agent as it is afterwards; undefined where it is unknown. An agent that has ended stays as it ended. */
  async settle(agentId: AgentId, end: Settled): Promise<AgentView | undefined> {
    if (end.state !== 'queued') this.onEnd(agentId);
    const changed = await this.write(agentId, end);
    switch (changed.kind) {
      case 'changed':
        this.record(changed.agent, end.detail);
        return changed.agent;
      case 'illegal':
        if (!isTerminal(changed.state))
          this.logger.error({ agentId, ...end, from: changed.state, msg: 'an agent cannot end so from its state' });
        return changed.agent;
      case 'fenced':
        this.logger.error({ agentId, ...end, msg: 'a stale worker wanted to move the agent on' });
        return this.store.find(agentId);
      case 'unknown':
        return undefined;
    }
  }

  /** A change that Valkey refuses, because it is full, say, is tried again. Rejects only where the orchestrator stops. */
  async write(agentId: AgentId, change: ChangeOptions): Promise<Changed> {
    for (;;) {
      try {
        return await this.store.change(agentId, change);
      } catch (error) {
        this.logger.error({ err: error, agentId, state: change.state, msg: "the agent's state cannot be written yet" });
        await delay(RETRY_MS, undefined, { signal: this.signal });
      }
    }
  }

  private record(agent: AgentView, more: Record<string, string> = {}): void {
    const { agentId, state, error, revision } = agent;
    this.logger.info({ agentId, state, ...(error === null ? {} : { code: error.code }), msg: 'the agent was settled' });
    const detail = { state, revision, ...(error === null ? {} : { code: error.code }), ...more };
    this.audit.append({ kind: 'agent.settled', subject: agentId, detail }).catch((fault: unknown) => {
      this.logger.error({ err: fault, agentId, msg: 'the audit log cannot be written' });
    });
  }
}
