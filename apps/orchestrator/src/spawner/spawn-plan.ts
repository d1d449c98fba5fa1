import {
  agentId,
  AgentRole,
  LIMITS,
  taskId,
  tenantId,
  WireFault,
  type AgentId,
  type OnHubLost,
  type SpawnAgent,
  type TaskId,
  type TenantId,
} from '@capstan/protocol';
import type { DemandableLimit } from '@capstan/platform';

export type AgentRoleName = 'worker' | 'reviewer' | 'tester';

/** What one agent is to do and within which limits, as it was admitted; kept with the agent until it is forgotten. */
export interface SpawnPlan {
  agentId: AgentId;
  taskId: TaskId;
  tenant: TenantId;
  role: AgentRoleName;
  runtime: string;
  repository: string;
  /** Empty for the repository's default branch. */
  branch: string;
  workItems: string[];
  skills: string[];
  sandbox: string;
  /** Limits that the owner demands of its sandbox. */
  demandLimits?: readonly DemandableLimit[];
  /** Wall-clock limit from GO, milliseconds. */
  timeoutMs: number;
  /** Spending cap, millionths of a US dollar. */
  budgetMicroUsd: number;
  /** Retries of what fails before GO. */
  maxRetries: number;
  /** 1 to 10, 10 is most urgent. */
  priority: number;
  /** Empty for the instance's default. */
  model: string;
  /** Playbook of the scripted provider; empty for its default. */
  playbook: string;
  /** Milliseconds without the hub's word after which it is killed; 0 where it lives on without the hub. */
  killAfterMs: number;
  /** Names of the secrets that it was admitted with; their values are in no store. Absent where it has none. */
  secretNames?: string[];
  /** The reaper's kill epochs when the agent was admitted; a later kill-all forbids its start. */
  killEpochs: AdmittedEpoch[];
}

/** JSON has no bigint: the epoch is its decimal text. */
export interface AdmittedEpoch {
  scope: string;
  scopeId: string;
  epoch: string;
}

/** What was asked for, before the owner's policy has filled in the limits. */
export type SpawnWish = Omit<SpawnPlan, 'killEpochs' | 'secretNames' | 'demandLimits'>;

export const DEFAULT_TENANT = 'default';
const DEFAULT_PRIORITY = 5;
const MOST_PRIORITY = 10;
/** A week: no renewal counts for longer. */
const LONGEST_LEASE_MS = 7n * 24n * 3_600_000n;
export const MOST_RETRIES = 10;
const ROLES: Readonly<Record<AgentRole, AgentRoleName | undefined>> = {
  [AgentRole.UNSPECIFIED]: undefined,
  [AgentRole.WORKER]: 'worker',
  [AgentRole.REVIEWER]: 'reviewer',
  [AgentRole.TESTER]: 'tester',
};

/** Reads a signed spawn. @throws {WireFault} `id-malformed`, `payload-malformed` */
export function wishOfCommand(spawn: SpawnAgent, tenant: string): SpawnWish {
  const role = ROLES[spawn.role];
  if (role === undefined) throw new WireFault('payload-malformed', 'no role');
  if (spawn.context === undefined) throw new WireFault('payload-malformed', 'no context');
  const { context, options } = spawn;
  return {
    agentId: agentId(spawn.agentId),
    taskId: taskId(spawn.taskId),
    tenant: tenantId(tenant || DEFAULT_TENANT),
    role,
    runtime: spawn.runtime,
    repository: context.repository,
    branch: context.branch,
    workItems: [...context.workItems],
    skills: [...context.skills],
    sandbox: options?.sandbox ?? '',
    timeoutMs: Number(options?.timeoutMs ?? 0n),
    budgetMicroUsd: Number(options?.budgetMicroUsd ?? 0n),
    maxRetries: Math.min(options?.maxRetries ?? 0, MOST_RETRIES),
    priority: priorityOf(options?.priority ?? 0),
    model: options?.model ?? '',
    playbook: options?.playbook ?? '',
    killAfterMs: killAfterOf(spawn.onHubLost),
  };
}

/** Who says nothing gets a lease. @throws {WireFault} `payload-malformed` */
function killAfterOf(onHubLost: OnHubLost | undefined): number {
  const action = onHubLost?.action;
  switch (action?.case) {
    case undefined:
      return LIMITS.killAfterMs;
    case 'keep':
      if (action.value) return 0;
      break;
    case 'killAfterMs':
      if (action.value > 0n && action.value <= LONGEST_LEASE_MS) return Number(action.value);
  }
  throw new WireFault('payload-malformed', 'onHubLost is neither a time nor keep');
}

/** 0 means the default. @throws {WireFault} `payload-malformed` */
export function priorityOf(asked: number): number {
  if (asked === 0) return DEFAULT_PRIORITY;
  if (!Number.isInteger(asked) || asked < 1 || asked > MOST_PRIORITY) {
    throw new WireFault('payload-malformed', `priority ${String(asked)}`);
  }
  return asked;
}
