import type { Logger } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import type { AgentStore } from '../valkey/agent.store.js';
import type { Sessions } from './session.js';
import { pushUnknown } from './settled-as.js';
import type { Settled } from './settlement.js';

/**
 * What is to be written down with the end of an agent whose former orchestrator may have died in the middle of a push: nothing
 * where none was going out. Never rejects: the agent has ended, whether or not that can be told.
 */
export async function pushLeft(
  parts: { sessions: Pick<Sessions, 'recall'>; store: Pick<AgentStore, 'find'>; logger: Logger },
  agentId: AgentId,
): Promise<Pick<Settled, 'patch' | 'detail'>> {
  const { sessions, store, logger } = parts;
  try {
    const pushing = (await sessions.recall(agentId))?.pushing;
    if (pushing === undefined) return {};
    const warnings = (await store.find(agentId))?.warnings ?? [];
    const { patch, detail } = pushUnknown('Its orchestrator was lost', pushing, warnings);
    return { patch, detail };
  } catch (error) {
    logger.error({ err: error, agentId, msg: 'whether it was pushing cannot be read' });
    return {};
  }
}
