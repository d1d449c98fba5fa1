import { resolve } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { OrchestratorDoor } from '@capstan/localmesh';
import { isId, WireFault } from '@capstan/protocol';
import type { Output } from '../output/output.js';

/**
 * The owner's word to a running agent, through the orchestrator of the instance in `directory`.
 *
 * @param text `-` for what comes on standard input; a single line end behind that is no part of it
 * @throws {WireFault} `id-malformed`; HubProblem with the orchestrator's code, LocalFault `orchestrator-away`
 */
export async function message(
  output: Output,
  directory: string,
  agentId: string,
  text: string,
  input: NodeJS.ReadableStream = process.stdin,
): Promise<void> {
  if (!isId(agentId)) throw new WireFault('id-malformed');
  const words = text === '-' ? (await textOf(input)).replace(/\r?\n$/, '') : text;
  const messageId = await new OrchestratorDoor(resolve(directory)).message(agentId, words);
  output.result('message', { agentId, messageId }, [
    `The message waits for ${agentId}, which takes it up before its next turn.`,
  ]);
}
