import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { HubAgentView, Mesh, MeshModel } from '@capstan/localmesh';
import { LocalFault } from '@capstan/protocol';
import type { Output } from '../output/output.js';
import type { Progress } from '../progress/progress.js';
import { collectReceipts, keepStatus } from './collect-receipts.js';
import { killAgent } from './kill-agent.js';
import { endlessAgent, mapAgent } from './demo-agents.js';
import { endOf, runAgent, startAgent } from './run-agent.js';
import { type DemoReport, reportJson } from './demo-report.js';
import { summaryLines } from './summary.js';

export interface DemoOptions {
  output: Output;
  progress: Progress;
  mesh: Mesh;
  model: MeshModel;
  /** Milliseconds from the command to a mesh that is up. */
  upMs: number;
  /** Whether the mesh stays up afterwards. */
  stays: boolean;
}

/**
 * One agent that does something useful, and one that is stopped: with real commands, real agents and receipts that are
 * checked here. @throws LocalFault `demo-failed` where the first agent did not finish its work
 */
export async function runDemo(options: DemoOptions): Promise<void> {
  const { output, progress, mesh, model } = options;
  const instance = (mesh.instances.find(({ id }) => id === 'quay') ?? mesh.instances.at(-1))?.id ?? '';
  const { repository } = mesh;
  if (repository === undefined) throw new LocalFault('demo-failed', 'The demo has no repository.');
  const receiptDir = join(mesh.stateDir, 'receipts');
  await mkdir(receiptDir, { recursive: true, mode: 0o700 });
  const timings: Record<string, number> = { upMs: options.upMs };
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const startedAt = performance.now();
    const result = await work();
    timings[name] = Math.round(performance.now() - startedAt);
    return result;
  };

  const mapOrder = mapAgent(instance, repository, model);
  const mapped = await timed('firstAgentMs', () =>
    progress.run(`First agent: on ${instance}, maps ${repository.source}`, (say) => runAgent(mesh, mapOrder, say)),
  );
  if (mapped.state !== 'completed') throw await failed(mesh, mapped);
  const status = await timed('statusMs', () =>
    progress.run(`Asking ${instance} for its signed word on that agent`, () =>
      keepStatus(mesh, mapped.agentId, receiptDir),
    ),
  );
  const mapReceipts = await collectReceipts(mesh, mapped.agentId, receiptDir, 'finished');

  const endlessOrder = endlessAgent(instance, repository, model);
  const endless = await timed('secondAgentMs', () =>
    progress.run(`Second agent: on ${instance}, would run for an hour`, (say) => startAgent(mesh, endlessOrder, say)),
  );
  const kill = await timed('killMs', () =>
    progress.run('Killing the second agent through the hub', () => killAgent(mesh, endless.agentId)),
  );
  const killReceipts = await collectReceipts(mesh, endless.agentId, receiptDir, 'killed');
  const report: DemoReport = {
    first: {
      order: mapOrder,
      agent: mapped,
      receipts: [...mapReceipts.filter(({ kind }) => kind !== 'status'), status],
    },
    second: { order: endlessOrder, agent: await endOf(mesh, endless.agentId), receipts: killReceipts },
    kill,
    timings: {
      ...timings,
      totalMs:
        options.upMs + Object.entries(timings).reduce((sum, [name, ms]) => (name === 'upMs' ? sum : sum + ms), 0),
    },
  };
  if (!kill.confirmed) output.exitCode = 1;
  if (output.isJson) output.json(await reportJson(mesh, report));
  else for (const line of summaryLines(mesh, report, options.stays)) output.line(line);
}

async function failed(mesh: Mesh, agent: HubAgentView): Promise<LocalFault> {
  const page = await mesh.client.logs(agent.agentId, { limit: 20 }).catch(() => ({ lines: [] }));
  const why = agent.error === null ? agent.state : `${agent.error.sentence} (${agent.error.code})`;
  return new LocalFault(
    'demo-failed',
    `The first agent did not finish: ${why}`,
    page.lines.map(({ source, text }) => `${source}: ${text}`).join('\n'),
  );
}
