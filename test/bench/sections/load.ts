/** (k) Many agents at once on one instance: what their starts take, and what the instance's own processes use meanwhile. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { MeshOptions } from '@capstan/localmesh';
import { newId, type AgentView } from '@capstan/protocol';
import { type Figure, percentile } from '../figures.ts';
import { HttpPeer } from '../http.ts';
import { startMesh, until } from '../mesh.ts';
import { Footprint } from '../footprint.ts';
import { Rally } from '../rally.ts';

const PATIENCE_MS = 600_000;
const GOALS = { spawnMs: 10_000, taskMs: 3_600_000, cpuPercent: 80, memoryMb: 4096 };

/** @param count agents that live at the same time; each with a uid of its own where this runs as root */
export async function measureLoad(count: number, sandbox?: MeshOptions['sandbox']): Promise<Figure[]> {
  await using rally = await Rally.start();
  await using mesh = await startMesh({
    instances: ['harbor'],
    policy: { concurrency: count },
    ...(sandbox && { sandbox }),
    model: { provider: 'anthropic', apiKey: 'bench', url: rally.url },
  });
  const [instance] = mesh.instances;
  if (instance === undefined) throw new Error('a mesh without an instance');
  const token = readFileSync(join(instance.dir, 'tokens', 'orchestrator.token'), 'utf8').trim();
  using orchestrator = new HttpPeer(instance.orchestratorSocket, token);
  const footprint = new Footprint(mesh.supervisorPid);
  const ids = await Promise.all(Array.from({ length: count }, () => order(orchestrator, mesh.repository)));
  await until(
    `all ${String(count)} agents ask the model`,
    async () => (await here(rally, count, orchestrator, ids)) || undefined,
    PATIENCE_MS,
  );
  const memoryMb = footprint.memoryMb();
  const connections = await footprint.valkeyConnections();
  rally.release();
  const ends = await Promise.all(ids.map((id) => endOf(orchestrator, id)));
  const cpuPercent = (footprint.cores() / cpus().length) * 100;
  return figuresOf(count, ends, { memoryMb, cpuPercent, connections });
}

function figuresOf(
  count: number,
  ends: readonly AgentView[],
  { memoryMb, cpuPercent, connections }: { memoryMb: number; cpuPercent: number; connections: number },
): Figure[] {
  const failures = ends.filter(({ state }) => state !== 'completed');
  for (const { agentId, state, error } of failures) console.error(`${agentId}: ${state} ${error?.code ?? ''}`);
  const between = (from: string | null, to: string | null): number => Date.parse(to ?? '') - Date.parse(from ?? '');
  const spawns = ends.filter(({ startedAt }) => startedAt !== null).map((it) => between(it.queuedAt, it.startedAt));
  const tasks = ends.map((it) => between(it.queuedAt, it.completedAt));
  // ORC-128 promises them for ten agents; of more they are figures.
  const goal = (text: string, met: boolean): Pick<Figure, 'goal'> => (count <= 10 ? { goal: { text, met } } : {});
  const figure = (name: string, value: number, unit: Figure['unit'], promise: Pick<Figure, 'goal'> = {}): Figure => ({
    section: 'k',
    name: `${String(count)} agents at once: ${name}`,
    value,
    unit,
    samples: count,
    ...promise,
  });
  const [spawn, task] = [percentile(spawns, 0.99), percentile(tasks, 0.99)];
  return [
    figure('failed', failures.length, 'count', { goal: { text: 'none', met: failures.length === 0 } }),
    figure('order to start, p50', percentile(spawns, 0.5), 'ms'),
    figure('order to start, p99', spawn, 'ms', goal('under 10 s', spawn < GOALS.spawnMs)),
    figure('order to end, p99', task, 'ms', goal('under 1 h', task < GOALS.taskMs)),
    figure('CPU of the instance', cpuPercent, '%', goal('under 80 % of the machine', cpuPercent < GOALS.cpuPercent)),
    figure('memory of the instance (PSS)', memoryMb, 'MB', goal('under 4 GB', memoryMb < GOALS.memoryMb)),
    figure('connections to Valkey', connections, 'count'),
  ];
}

async function order(orchestrator: HttpPeer, repository: string): Promise<string> {
  const context = { repository, workItems: ['Write BENCH.md.'] };
  const body = JSON.stringify({ taskId: `bench-${newId().slice(-12)}`, agentType: 'worker', context });
  return (await orchestrator.call<{ agentId: string }>('POST', '/agents/spawn', body)).agentId;
}

/** @throws Error where an agent has ended already: it will never ask */
async function here(rally: Rally, count: number, orchestrator: HttpPeer, ids: readonly string[]): Promise<boolean> {
  if (rally.present >= count) return true;
  for (const id of ids) {
    const { state, error } = await status(orchestrator, id);
    if (['completed', 'failed', 'killed'].includes(state)) throw new Error(`${id} is ${state}: ${error?.code ?? ''}`);
  }
  return false;
}

function endOf(orchestrator: HttpPeer, id: string): Promise<AgentView> {
  return until(
    `${id} has ended`,
    async () => {
      const agent = await status(orchestrator, id);
      return agent.completedAt === null ? undefined : agent;
    },
    PATIENCE_MS,
  );
}

function status(orchestrator: HttpPeer, id: string): Promise<AgentView> {
  return orchestrator.call<AgentView>('GET', `/agents/${id}/status`);
}
