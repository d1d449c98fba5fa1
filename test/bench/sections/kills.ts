/** (c) From the order at the hub's API to the death that the reaper has observed and signed. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Bench } from '../agents.ts';
import { measureSigkillToGone } from '../baselines/sigkill.ts';
import { type Figure, percentile } from '../figures.ts';
import { drive } from '../load.ts';
import { until } from '../mesh.ts';
import { WORK } from '../upstream.ts';

/** Agents that run at once; the mesh's policy allows no more. */
export const PLACES = 4;
const QUEUED = 10_000;
const GOALS = { aboveBareMs: 50, p99Ms: 250, localMs: 1000 };
const LOCAL_KILLS = 20;
const run = promisify(execFile);

export interface KillLoad {
  /** Kills in each of the three conditions. */
  each: number;
  /** Jobs that wait in the second one. */
  queued: number;
}

export const killLoad = (samples: (count: number) => number): KillLoad => ({
  each: samples(170),
  queued: samples(QUEUED),
});

export async function measureKills(bench: Bench, { each, queued }: KillLoad): Promise<Figure[]> {
  const bare = await measureSigkillToGone(Math.min(each, 100));
  const local = await killLocally(bench, Math.min(each, LOCAL_KILLS));
  const conditions: [name: string, samples: number[]][] = [
    ['idle', await killRunning(bench, each, WORK.idle)],
    [`${String(PLACES)} CPU-bound agents`, await killRunning(bench, each, WORK.busy)],
    // Last: what is queued stays.
    [`${String(queued)} jobs queued`, await killBesideQueue(bench, each, queued)],
  ];
  const all = conditions.flatMap(([, samples]) => samples);
  return [...conditions.flatMap(([name, samples]) => figuresOf(name, samples, bare)), overall(all), ...local];
}

/** Those of the first condition alone. */
export async function measureIdleKills(bench: Bench, each: number): Promise<Figure[]> {
  const bare = await measureSigkillToGone(Math.min(each, 100));
  const samples = await killRunning(bench, each, WORK.idle);
  return figuresOf('idle', samples, bare);
}

function figuresOf(name: string, samples: number[], bare: number[]): Figure[] {
  const row = (share: number, label: string): Figure => ({
    section: 'c',
    name: `kill, ${name}: ${label}`,
    value: percentile(samples, share),
    unit: 'ms',
    samples: samples.length,
    baseline: { name: 'bare SIGKILL to gone', value: percentile(bare, share) },
  });
  const p50 = row(0.5, 'p50');
  const above = p50.value - percentile(bare, 0.5);
  const goal = { text: `within ${String(GOALS.aboveBareMs)} ms of the bare kill`, met: above <= GOALS.aboveBareMs };
  return [{ ...p50, goal }, row(0.99, 'p99')];
}

function overall(samples: number[]): Figure {
  const value = percentile(samples, 0.99);
  const goal = { text: `under ${String(GOALS.p99Ms)} ms`, met: value < GOALS.p99Ms };
  return { section: 'c', name: 'kill, all conditions: p99', value, unit: 'ms', samples: samples.length, goal };
}

/** Keeps every place taken: whoever is killed has PLACES - 1 beside it. */
async function killRunning(bench: Bench, count: number, work: string): Promise<number[]> {
  const agents = await Promise.all(Array.from({ length: PLACES }, () => bench.spawn(work)));
  for (const agentId of agents) await bench.running(agentId);
  const samples: number[] = [];
  for (let agentId = agents.shift(); agentId !== undefined; agentId = agents.shift()) {
    const ms = await timeKill(bench, agentId);
    // The last ones die with fewer beside them: not counted.
    if (samples.length === count) continue;
    samples.push(ms);
    const next = await bench.spawn(work);
    await bench.running(next);
    agents.push(next);
  }
  return samples;
}

/** By the command on the instance's own machine, from its start to its end, while the hub stands still. */
async function killLocally(bench: Bench, count: number): Promise<Figure[]> {
  const { hubPid, instances } = bench.mesh;
  const program = join(import.meta.dirname, '../../../dist/apps/cli/src/main.js');
  const samples: number[] = [];
  while (samples.length < count) {
    const agentId = await bench.spawn(WORK.idle);
    await bench.running(agentId);
    process.kill(hubPid, 'SIGSTOP');
    try {
      const started = performance.now();
      const { stdout } = await run(process.execPath, [
        program,
        'kill',
        agentId,
        '--local',
        instances[0]?.dir ?? '',
        '--json',
      ]);
      samples.push(performance.now() - started);
      if (!(JSON.parse(stdout) as { confirmed: boolean }).confirmed) throw new Error(`${agentId} is not confirmed`);
    } finally {
      process.kill(hubPid, 'SIGCONT');
    }
  }
  const figure = (share: number): Figure => ({
    section: 'c',
    name: `capstan kill --local, hub stopped: p${String(share * 100)}`,
    value: percentile(samples, share),
    unit: 'ms',
    samples: count,
  });
  const p99 = figure(0.99);
  return [figure(0.5), { ...p99, goal: { text: 'under 1 s', met: p99.value < GOALS.localMs } }];
}

/** The queue gives the place of whoever is killed to the next in line. */
async function killBesideQueue(bench: Bench, count: number, queued: number): Promise<number[]> {
  const line: string[] = [];
  await drive(queued + count + PLACES, 16, async () => line.push(await bench.enqueue(WORK.idle)));
  const samples: number[] = [];
  while (samples.length < count) {
    const agentId = await nextRunning(bench, line);
    if ((await bench.queued()) < queued) throw new Error('the queue has run dry');
    samples.push(await timeKill(bench, agentId));
    line.splice(line.indexOf(agentId), 1);
  }
  return samples;
}

/** One of the agents at the head of the line, once every place is taken. */
function nextRunning(bench: Bench, line: readonly string[]): Promise<string> {
  // Orders that were given at the same time may have changed places.
  const head = line.slice(0, 10 * PLACES);
  return until('every place is taken', async () => {
    const are = await Promise.all(head.map((agentId) => bench.isRunning(agentId)));
    const running = head.filter((_, i) => are[i]);
    return running.length === PLACES ? running[0] : undefined;
  });
}

async function timeKill(bench: Bench, agentId: string): Promise<number> {
  const orderedAtMs = Date.now();
  const { observation } = await bench.kill(agentId);
  if (observation?.outcome !== 'killed') throw new Error(`${agentId}: ${observation?.outcome ?? 'not observed'}`);
  return observation.observedAtMs - orderedAtMs;
}
