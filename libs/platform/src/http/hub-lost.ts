import type { SpawnRequest } from '@capstan/protocol';
import { RequestFault } from './request-validation.js';

/**
 * What a request's body says about an agent whose instance loses its hub, as `spawnBody` takes it: nothing where the
 * body says nothing.
 *
 * @throws RequestFault where it says neither or both
 */
export function hubLostOf(asked?: { killAfterMs?: number; keep?: true }): Pick<SpawnRequest, 'onHubLost'> {
  if (asked === undefined) return {};
  const { killAfterMs, keep } = asked;
  if (killAfterMs !== undefined && keep === undefined) return { onHubLost: { killAfterMs } };
  if (keep !== undefined && killAfterMs === undefined) return { onHubLost: { keep } };
  throw new RequestFault([{ field: 'onHubLost', message: 'onHubLost must have exactly one of killAfterMs and keep' }]);
}
