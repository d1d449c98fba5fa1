import { resolve } from 'node:path';
import { OrchestratorDoor } from '@capstan/localmesh';
import { isId, WireFault } from '@capstan/protocol';
import type { Output } from '../output/output.js';

/**
 * The owner's word to a running agent, through the orchestrator of the instance in `directory`.
 *
 * @throws {WireFault} `id-malformed`; HubProblem with the orchestrator's code, LocalFault `orchestrator-away`
 */
export async function message(output: Output, directory: string, agentId: string, text: string): Promise<void> {
  if (!isId(agentId)) throw new WireFault('id-malformed');
  const messageId = await new OrchestratorDoor(resolve(directory)).message(agentId, text);
  output.result('message', { agentId, messageId }, [
    `The message waits for ${agentId}, which takes it up before its next turn.`,
  ]);
}
