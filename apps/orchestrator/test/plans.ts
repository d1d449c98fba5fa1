import { agentId, newId, taskId, tenantId } from '@capstan/protocol';
import type { SpawnPlan } from '../src/spawner/spawn-plan.js';

/** A plan for a new agent on a new task. */
export function planFor(over: Partial<SpawnPlan> = {}): SpawnPlan {
  return {
    agentId: agentId(newId()),
    taskId: taskId(newId()),
    tenant: tenantId('default'),
    role: 'worker',
    runtime: 'claude',
    repository: '/srv/repository',
    branch: '',
    workItems: ['do it'],
    skills: [],
    sandbox: 'bubblewrap',
    timeoutMs: 1000,
    budgetMicroUsd: 1000,
    maxRetries: 0,
    priority: 5,
    model: '',
    playbook: '',
    killAfterMs: 0,
    killEpochs: [],
    ...over,
  };
}
