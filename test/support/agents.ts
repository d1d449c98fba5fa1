import type { CommandAccepted, CommandView, HubAgentView, Mesh, ReceiptView, SpawnBody } from '@capstan/localmesh';
import { until } from './until.js';

/** An agent in Docker is made, harvested in two more containers, and pushed; others may be at it too. */
const PATIENCE_MS = 120_000;

export type SpawnOverrides = Partial<Omit<SpawnBody, 'options' | 'context'>> & {
  playbook?: string;
  repository?: string;
  options?: SpawnBody['options'];
};

/** Orders an agent on `instance`, by default on the mesh's own repository with the playbook that maps it. */
export function spawnAgent(mesh: Mesh, instance: string, overrides: SpawnOverrides = {}): Promise<CommandAccepted> {
  const { playbook = 'repository-map', repository = mesh.repository?.path ?? '', options, ...body } = overrides;
  return mesh.client.spawn({
    instance,
    agentType: 'worker',
    context: { repository, workItems: ['Map this repository in docs/REPOSITORY-MAP.md.'] },
    ...body,
    options: { playbook, ...options },
  });
}

/** Waits until the hub was told one of `states`. */
export function agentIn(
  mesh: Mesh,
  agentId: string,
  ...states: HubAgentView['state'][]
): Promise<HubAgentView & { receipts: ReceiptView[] }> {
  const isReached = async (): Promise<Awaited<ReturnType<typeof agentIn>> | undefined> => {
    const agent = await mesh.client.agent(agentId).catch(() => undefined);
    return agent !== undefined && states.includes(agent.state) ? agent : undefined;
  };
  return until(`agent ${agentId} is ${states.join(' or ')}`, isReached, PATIENCE_MS);
}

/** Waits until the agent has completed. @throws Error with its own reason where it ended otherwise */
export async function completed(mesh: Mesh, agentId: string): ReturnType<typeof agentIn> {
  const agent = await agentIn(mesh, agentId, 'completed', 'failed', 'killed');
  if (agent.state === 'completed') return agent;
  const { lines } = await mesh.client.logs(agentId);
  const log = lines.slice(-5).map(({ source, text }) => `${source}: ${text}`);
  throw new Error(`agent ${agentId} is ${agent.state}: ${agent.error?.code ?? 'no reason'}\n${log.join('\n')}`);
}

/** Waits until the hub has verified a receipt of `kind` for the agent. */
export function receiptOf(mesh: Mesh, agentId: string, kind: string): Promise<ReceiptView> {
  const isThere = async (): Promise<ReceiptView | undefined> => {
    const agent = await mesh.client.agent(agentId).catch(() => undefined);
    return agent?.receipts.find((receipt) => receipt.kind === kind);
  };
  return until(`agent ${agentId} has a receipt "${kind}"`, isThere, PATIENCE_MS);
}

/** Waits until the command is in one of `states`. */
export function commandIn(mesh: Mesh, commandId: string, ...states: string[]): Promise<CommandView> {
  return until(`command ${commandId} is ${states.join(' or ')}`, async () => {
    const command = await mesh.client.command(commandId);
    return states.includes(command.state) ? command : undefined;
  });
}
