import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Mesh } from '@capstan/localmesh';
import { faultSentence, type FaultCode } from '@capstan/protocol';
import { receiptOf, spawnAgent, type SpawnOverrides } from '../../support/agents.js';
import { git } from '../../support/repository.js';
import { until } from '../../support/until.js';

const ENDS: readonly string[] = ['failed', 'completed', 'killed'];
/** Some make two hundred requests, each with a command, before they end. */
const PATIENCE_MS = 180_000;

/**
 * Everything that ends otherwise than by a push: the state, the code and its sentence, as the hub was told and signed.
 *
 * @returns the agent's id
 */
export async function failsWith(mesh: Mesh, order: SpawnOverrides, code: FaultCode): Promise<string> {
  const { agentId } = await spawnAgent(mesh, 'quay', order);
  const agent = await until(
    `agent ${agentId} has ended`,
    async () => {
      const seen = await mesh.client.agent(agentId).catch(() => undefined);
      return seen !== undefined && ENDS.includes(seen.state) ? seen : undefined;
    },
    PATIENCE_MS,
  );
  expect(agent).toMatchObject({
    state: 'failed',
    // An outage of the model is told with its reason.
    error: { code, sentence: expect.stringContaining(faultSentence(code).replace(/\.$/, '')) },
    harvest: null,
    completedAt: expect.any(String),
  });
  const receipt = await receiptOf(mesh, agentId, 'finished');
  expect(receipt).toMatchObject({ verified: true, result: { state: 'failed', error: { code } } });
  await until('its log ends with what became of its work', async () => {
    const { lines } = await mesh.client.logs(agentId, { limit: 5000 });
    return lines.some(({ source, text }) => source === 'system' && text.includes('nfinished work'));
  });
  await until(
    'nothing of it is left on disk',
    () => readdirSync(join(mesh.instance('quay').dir, 'agents')).length === 0,
    PATIENCE_MS,
  );
  const branch = `refs/heads/capstan/${agent.taskId}`;
  expect(git(mesh.repository?.path ?? '', 'for-each-ref', '--format=%(refname)', branch)).toBe('');
  return agentId;
}
