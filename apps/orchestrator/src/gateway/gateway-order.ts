import type { OwnerPolicy } from '@capstan/platform';
import type { AgentId, TaskId, TenantId } from '@capstan/protocol';
import type { Usage } from './meter.js';
import type { SharedLimits } from './spend-ledger.js';

/** Budgets of an agent, of its task and of its tenant; codes of the protocol. */
export type BudgetCode = 'agent-budget' | 'task-budget' | 'tenant-budget';

/** What the owner allows, read before each request: a change counts at once. */
export interface GatewayRules extends SharedLimits {
  /** Prices at which a model without a list price is counted, US dollars per million tokens; absent: it is refused. */
  unknownModels?: { input: number; output: number };
}

/** The gateway's part of the owner's policy. */
export function rulesOf({ spawn }: OwnerPolicy): GatewayRules {
  const { taskBudgetMicroUsd: task, tenantBudgetMicroUsdPerDay: tenant, unknownModels } = spawn;
  return {
    ...(task === undefined ? {} : { taskMicroUsd: task }),
    ...(tenant === undefined ? {} : { tenantMicroUsdPerDay: tenant }),
    ...(unknownModels === undefined ? {} : { unknownModels }),
  };
}

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
  /** What it has used before, under a gateway that is no more; default nothing. */
  before?: Usage;
  /** What the agent is; some may be answered by playbook. */
  role?: string;
  /** Model of an agent that asks for `default`; empty for the provider's own. */
  model: string;
  /** Playbook of the scripted provider; empty for its default. */
  playbook?: string;
  /** After each request. */
  onUsage: (usage: Usage) => void;
  /** Once, when a budget refuses a request. */
  onBudget: (code: BudgetCode) => void;
}
