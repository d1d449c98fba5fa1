import { RequestFault } from '@capstan/platform';
import { AgentRole, LIMITS, newId } from '@capstan/protocol';
import type { Order } from '../commands/command-factory.js';
import type { OnHubLostDto, SpawnAgentDto, SpawnOptionsDto } from './spawn.dto.js';

const DEFAULT_LIFETIME_MS = 300_000;
const ROLES: Readonly<Record<SpawnAgentDto['agentType'], AgentRole>> = {
  worker: AgentRole.WORKER,
  reviewer: AgentRole.REVIEWER,
  tester: AgentRole.TESTER,
};

/** The order that a spawn request asks for. @throws RequestFault where onHubLost says nothing or two things */
export function spawnOrder(body: SpawnAgentDto, onBehalfOf: string): Order {
  const agentId = body.agentId ?? newId();
  const { repository, branch, workItems, skills } = body.context;
  return {
    id: newId(),
    instance: body.instance,
    agentId,
    tenant: body.tenant ?? 'default',
    onBehalfOf,
    lifetimeMs: body.expiresInMs ?? DEFAULT_LIFETIME_MS,
    body: {
      case: 'spawn',
      value: {
        agentId,
        taskId: body.taskId ?? newId(),
        role: ROLES[body.agentType],
        runtime: body.runtime ?? 'claude',
        context: { repository, branch: branch ?? '', workItems, skills: skills ?? [] },
        options: options(body.options ?? {}),
        onHubLost: { action: onHubLost(body.onHubLost) },
      },
    },
  };
}

/** 0 and empty are the wire's words for "the instance's default". */
function options(o: SpawnOptionsDto) {
  return {
    sandbox: o.sandbox ?? '',
    timeoutMs: BigInt(o.timeoutMs ?? 0),
    maxRetries: o.maxRetries ?? 0,
    priority: o.priority ?? 0,
    budgetMicroUsd: BigInt(o.budgetMicroUsd ?? 0),
    model: o.model ?? '',
    playbook: o.playbook ?? '',
  };
}

function onHubLost(o: OnHubLostDto | undefined) {
  if (o === undefined) return { case: 'killAfterMs', value: BigInt(LIMITS.killAfterMs) } as const;
  const { killAfterMs, keep } = o;
  if ((killAfterMs === undefined) === (keep === undefined)) {
    throw new RequestFault([
      { field: 'onHubLost', message: 'onHubLost must have exactly one of killAfterMs and keep' },
    ]);
  }
  return killAfterMs === undefined
    ? ({ case: 'keep', value: true } as const)
    : ({ case: 'killAfterMs', value: BigInt(killAfterMs) } as const);
}
