import { readFile } from 'node:fs/promises';
import type { RoutedBody } from '@capstan/identity';
import {
  agentId,
  AgentStatusSchema,
  create,
  KillAgentSchema,
  LocalFault,
  spawnBody,
  type SpawnRequest,
} from '@capstan/protocol';

/** A command as a person writes it into a file: exactly one of the three. */
export interface CommandRequest {
  spawn?: SpawnRequest;
  status?: { agentId: string };
  kill?: { agentId: string; reason?: string };
}

/** @throws LocalFault `file-missing`, `request-malformed` */
export async function readRequest(file: string): Promise<CommandRequest & { instance: string; tenant?: string }> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new LocalFault('file-missing', `${file} cannot be read.`, undefined, { cause });
  });
  try {
    const { instance, tenant, spawn, status, kill } = JSON.parse(text) as Record<string, unknown>;
    const orders = [spawn, status, kill].filter((order) => typeof order === 'object' && order !== null);
    if (typeof instance !== 'string' || orders.length !== 1)
      throw new TypeError('not {instance, spawn | status | kill}');
    return {
      instance,
      ...(typeof tenant === 'string' ? { tenant } : {}),
      ...({ spawn, status, kill } as CommandRequest),
    };
  } catch (cause) {
    const what = `${file} is no request: {"instance": …, "spawn" | "status" | "kill": {…}}.`;
    throw new LocalFault('request-malformed', what, undefined, { cause });
  }
}

/** @throws WireFault `id-malformed`; LocalFault `request-malformed` where a spawn lacks what it needs */
export function bodyOfRequest({ spawn, status, kill }: CommandRequest): RoutedBody {
  if (status !== undefined) {
    return { case: 'status', value: create(AgentStatusSchema, { agentId: agentId(status.agentId) }) };
  }
  if (kill !== undefined) {
    const { agentId: id, reason = '' } = kill;
    return { case: 'kill', value: create(KillAgentSchema, { agentId: agentId(id), reason }) };
  }
  if (spawn?.context?.repository === undefined || !Array.isArray(spawn.context.workItems)) {
    throw new LocalFault('request-malformed', 'A spawn needs agentType and context {repository, workItems}.');
  }
  return spawnBody(spawn);
}
