import type { HubAgentView, Mesh } from '@capstan/localmesh';
import type { KeptReceipt } from './collect-receipts.js';
import type { DemoAgent } from './demo-agents.js';
import type { KillReport } from './kill-agent.js';

/** What the demo found out. */
export interface DemoReport {
  first: { order: DemoAgent; agent: HubAgentView; receipts: KeptReceipt[] };
  second: { order: DemoAgent; agent: HubAgentView; receipts: KeptReceipt[] };
  kill: KillReport;
  timings: Record<string, number>;
}

/** The one object of `--once --json`. */
export async function reportJson(
  mesh: Mesh,
  { first, second, kill, timings }: DemoReport,
): Promise<Record<string, unknown>> {
  const connections = await mesh.client.connections();
  return {
    version: 1,
    hub: { id: mesh.hub.id, url: mesh.hub.url, tokenFile: mesh.hub.tokenFile, contextFile: mesh.contextFile },
    instances: mesh.instances.map(({ id }) => {
      const connection = connections.find(({ instanceId }) => instanceId === id);
      return { id, state: connection?.state ?? null, online: connection?.online ?? false };
    }),
    repository: mesh.repository,
    agents: [first, second].map(({ agent, receipts }) => ({
      id: agent.agentId,
      instance: agent.instance,
      taskId: agent.taskId,
      state: agent.state,
      branch: agent.harvest?.branch ?? null,
      commit: agent.harvest?.commit ?? null,
      files: agent.harvest?.files ?? [],
      usage: agent.usage,
      receipts,
    })),
    kill,
    timings,
  };
}
