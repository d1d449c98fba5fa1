import { setTimeout as pause } from 'node:timers/promises';
import type { HubAgentView, Mesh } from '@capstan/localmesh';
import { isTerminal, LocalFault } from '@capstan/protocol';
import { waitForAgent } from '../wait-for-agent.js';
import type { DemoAgent } from './demo-agents.js';

/** A model may take its time; a playbook takes a second. */
const RUN_MS = 15 * 60_000;
const START_MS = 60_000;
const BUSY_MS = 3000;
const END_MS = 5000;
const EVERY_MS = 50;

/** Orders an agent and stays until it has ended. */
export async function runAgent(mesh: Mesh, { body }: DemoAgent, say: (text: string) => void): Promise<HubAgentView> {
  const ordered = await mesh.client.spawn(body);
  return waitForAgent(mesh.client, ordered, () => false, { timeoutMs: RUN_MS, onState: say });
}

/** Orders an agent and stays until it works. @throws LocalFault `demo-failed` where it ended before */
export async function startAgent(mesh: Mesh, { body }: DemoAgent, say: (text: string) => void): Promise<HubAgentView> {
  const ordered = await mesh.client.spawn(body);
  const agent = await waitForAgent(mesh.client, ordered, ({ state }) => state === 'running', {
    timeoutMs: START_MS,
    onState: say,
  });
  if (agent.state !== 'running')
    throw new LocalFault(
      'demo-failed',
      `The second agent is ${agent.state} and not running: ${agent.error?.sentence ?? ''}`,
    );
  await waitUntilBusy(mesh, agent.agentId);
  return agent;
}

/** The agent as it was reported last; the report of its end may still be on its way. */
export async function endOf(mesh: Mesh, agentId: string): Promise<HubAgentView> {
  const deadline = performance.now() + END_MS;
  for (;;) {
    const agent = await mesh.client.agent(agentId);
    if (isTerminal(agent.state) || performance.now() > deadline) return agent;
    await pause(EVERY_MS);
  }
}

/** A kill says more about an agent that is in the middle of something; but nothing depends on it. */
async function waitUntilBusy(mesh: Mesh, agentId: string): Promise<void> {
  const deadline = performance.now() + BUSY_MS;
  while (performance.now() < deadline) {
    const page = await mesh.client.logs(agentId, { limit: 50 }).catch(() => undefined);
    if (page?.lines.some(({ source }) => source === 'tool') === true) return;
    await pause(EVERY_MS);
  }
}
