import { create } from '@bufbuild/protobuf';
import { AgentRole, SpawnAgentSchema } from './gen/capstan/v1/command_pb.js';
import { newId } from './ids.js';
import { LIMITS } from './limits.js';
import type { CommandBody } from './message-body.js';

/** A spawn as people and programs write it; what is left out is the instance's default. */
export interface SpawnRequest {
  agentId?: string;
  taskId?: string;
  agentType: 'worker' | 'reviewer' | 'tester';
  runtime?: string;
  context: { repository: string; branch?: string; workItems: readonly string[]; skills?: readonly string[] };
  options?: {
    sandbox?: string;
    timeoutMs?: number;
    maxRetries?: number;
    priority?: number;
    budgetMicroUsd?: number;
    model?: string;
    playbook?: string;
  };
  /** Without it the agent lives for five minutes without the hub. */
  onHubLost?: { killAfterMs: number } | { keep: true };
}

const ROLES = { worker: AgentRole.WORKER, reviewer: AgentRole.REVIEWER, tester: AgentRole.TESTER } as const;

/** The body of the command that a request asks for; agent and task are named here where the request does not. */
export function spawnBody(request: SpawnRequest): Extract<CommandBody, { case: 'spawn' }> {
  const { context, options: o = {}, onHubLost = { killAfterMs: LIMITS.killAfterMs } } = request;
  const action =
    'keep' in onHubLost
      ? ({ case: 'keep', value: true } as const)
      : ({ case: 'killAfterMs', value: BigInt(onHubLost.killAfterMs) } as const);
  const value = create(SpawnAgentSchema, {
    agentId: request.agentId ?? newId(),
    taskId: request.taskId ?? newId(),
    role: ROLES[request.agentType],
    runtime: request.runtime ?? 'claude',
    context: {
      repository: context.repository,
      branch: context.branch ?? '',
      workItems: [...context.workItems],
      skills: [...(context.skills ?? [])],
    },
    options: {
      sandbox: o.sandbox ?? '',
      timeoutMs: BigInt(o.timeoutMs ?? 0),
      maxRetries: o.maxRetries ?? 0,
      priority: o.priority ?? 0,
      budgetMicroUsd: BigInt(o.budgetMicroUsd ?? 0),
      model: o.model ?? '',
      playbook: o.playbook ?? '',
    },
    onHubLost: { action },
  });
  return { case: 'spawn', value };
}
