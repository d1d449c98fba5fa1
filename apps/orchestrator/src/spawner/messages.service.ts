import type { AuditLog } from '@capstan/evidence';
import { isTerminal, WireFault, type AgentId } from '@capstan/protocol';
import type { Monitor } from '../monitor/monitor.service.js';
import type { AgentStore } from '../valkey/agent.store.js';
import type { AgentRuns } from './agent-run.js';
import { digestOf, type OperatorMessage } from './inbox.js';

export interface MessagesParts {
  runs: AgentRuns;
  store: AgentStore;
  monitor: Monitor;
  audit: AuditLog;
}

/** Hands what the operator writes to agents that run. */
export class Messages {
  constructor(private readonly parts: MessagesParts) {}

  /**
   * Resolves once the message waits for the agent, which takes it up before it asks the model again. What is refused, or comes
   * again, is not noted.
   *
   * @throws {WireFault} `agent-unknown`, `agent-not-running`, `agent-ended`, `messages-unsupported`, `messages-full`,
   *   `message-exists`
   */
  async send(agentId: AgentId, message: OperatorMessage): Promise<void> {
    const { runs, store, monitor, audit } = this.parts;
    const agent = await store.find(agentId);
    if (agent === undefined) throw new WireFault('agent-unknown');
    if (isTerminal(agent.state)) throw new WireFault('agent-ended');
    const inbox = runs.get(agentId)?.inbox;
    if (inbox === undefined) throw new WireFault('agent-not-running');
    if (!inbox.add(message)) return;
    const { messageId, text } = message;
    monitor.quote(agentId, 'The operator writes: ', text);
    const detail = { messageId, characters: text.length, sha256: digestOf(message) };
    await audit.append({ kind: 'agent.message', subject: agentId, detail });
  }
}
