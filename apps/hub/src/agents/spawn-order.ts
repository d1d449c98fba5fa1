import { hubLostOf } from '@capstan/platform';
import { newId, spawnBody } from '@capstan/protocol';
import type { Order } from '../commands/command-factory.js';
import type { SpawnAgentDto } from './spawn.dto.js';

const DEFAULT_LIFETIME_MS = 300_000;

/** The order that a spawn request asks for. @throws RequestFault where onHubLost says nothing or two things */
export function spawnOrder(request: SpawnAgentDto, onBehalfOf: string): Order {
  const { instance, tenant = 'default', expiresInMs = DEFAULT_LIFETIME_MS, onHubLost, ...spawn } = request;
  const body = spawnBody({ ...spawn, ...hubLostOf(onHubLost) });
  const { agentId } = body.value;
  return { id: newId(), instance, agentId, tenant, onBehalfOf, lifetimeMs: expiresInMs, body };
}
