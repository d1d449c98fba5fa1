import type { AgentId, TaskId, TenantId } from '@capstan/protocol';
import type { Usage } from './meter.js';

/** What the gateway must know of an agent. */
export interface GatewayOrder {
  agentId: AgentId;
  taskId: TaskId;
  tenant: TenantId;
  /** Made by the gateway, and removed at the end. */
  socketPath: string;
  /** Host ids of the agent; only they (and root) can connect. */
  uid: number;
  gid: number;
  /** Spending cap, millionths of a US dollar. */
  budgetMicroUsd: number;
  /** Model of an agent that asks for `default`; empty for the provider's own. */
  model: string;
  /** Playbook of the scripted provider; empty for its default. */
  playbook?: string;
  /** After each request. */
  onUsage: (usage: Usage) => void;
  /** Once, when the budget refuses a request. */
  onBudget: () => void;
}
