import { agentId, newId, taskId, tenantId } from '@capstan/protocol';
import { DEFAULT_TENANT, priorityOf, type SpawnWish } from '../../spawner/spawn-plan.js';
import type { SpawnAgentDto } from './spawn-agent.dto.js';

/** What the owner asks for, in the words of the spawner; 0 and empty mean the policy's own limits. */
export function wishOfRequest(body: SpawnAgentDto): SpawnWish {
  const { context, options } = body;
  return {
    agentId: agentId(body.agentId ?? newId()),
    taskId: taskId(body.taskId),
    tenant: tenantId(body.tenant ?? DEFAULT_TENANT),
    role: body.agentType,
    runtime: body.runtime ?? 'claude',
    repository: context.repository,
    branch: context.branch ?? '',
    workItems: context.workItems,
    skills: context.skills ?? [],
    sandbox: options?.sandbox ?? '',
    timeoutMs: options?.timeout ?? 0,
    budgetMicroUsd: options?.budgetMicroUsd ?? 0,
    maxRetries: options?.maxRetries ?? 0,
    priority: priorityOf(options?.priority ?? 0),
    model: options?.model ?? '',
    playbook: options?.playbook ?? '',
    // The owner's own agents live by nobody's word but his.
    killAfterMs: 0,
  };
}
