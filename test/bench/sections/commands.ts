/** (a) A signed agent.status, from the call of the API to the verified receipt; and what the hub's CPU pays for it. */
import { fromBase64 } from '@capstan/protocol';
import type { Bench } from '../agents.ts';
import { measureNestPost } from '../baselines/nest-post.ts';
import { measureWsEcho } from '../baselines/ws-echo.ts';
import { startChild } from '../child.ts';
import { type Figure, percentile } from '../figures.ts';
import { drive, type LoadResult } from '../load.ts';
import type { BenchMesh } from '../mesh.ts';
import { cpuMs } from '../processes.ts';
import { WORK } from '../upstream.ts';
import { cryptoFloorMs } from './signatures.ts';

const GOAL = 1.5;
/** Times the samples, before they are taken: so long the compiler of a hub goes on to make it cheaper (measured). */
const WARM_UP = 3;

export async function measureCommands(bench: Bench, count: number): Promise<Figure[]> {
  const agentId = await bench.spawn(WORK.idle);
  await bench.running(agentId);
  const ask = () => bench.status(agentId);
  const command = fromBase64((await ask()).command);
  const hubCpu = { first: Number.NaN, settled: Number.NaN };
  const drivenWithCpu = async (samples: number, concurrency: number) => {
    const before = cpuMs(bench.mesh.hubPid);
    const load = await drive(samples, concurrency, ask);
    return { load, cpuPerCommand: (cpuMs(bench.mesh.hubPid) - before) / samples };
  };
  hubCpu.first = (await drivenWithCpu(count, 32)).cpuPerCommand;
  await drive(WARM_UP * count, 32, ask);
  const figures: Figure[] = [];
  for (const concurrency of [1, 32]) {
    const samples = concurrency === 1 ? Math.ceil(count / 4) : count;
    const { load, cpuPerCommand } = await drivenWithCpu(samples, concurrency);
    hubCpu.settled = cpuPerCommand;
    figures.push(...besideEcho(load, await measureWsEcho(command, samples, concurrency), concurrency));
  }
  await bench.kill(agentId);
  return [...figures, ...(await cpuFigures(bench.mesh, hubCpu, count))];
}

/** Status from the call of the hub's API to the receipt, verified once more by the caller; beside an echo of the same bytes. */
function besideEcho(measured: LoadResult, echo: LoadResult, concurrency: number): Figure[] {
  const row = (name: string, unit: Figure['unit'], valueOf: (result: LoadResult) => number): Figure => ({
    section: 'a',
    name: `agent.status, ${String(concurrency)} at a time: ${name}`,
    value: valueOf(measured),
    unit,
    samples: measured.latencies.length,
    baseline: { name: 'ws echo', value: valueOf(echo) },
  });
  return [
    row('p50', 'ms', ({ latencies }) => percentile(latencies, 0.5)),
    row('p99', 'ms', ({ latencies }) => percentile(latencies, 0.99)),
    row('commands per second', '1/s', ({ rate }) => rate),
  ];
}

/** CPU of the hub's process per command, beside the sum of what such a command cannot do without. */
async function cpuFigures(
  mesh: BenchMesh,
  hubCpu: { first: number; settled: number },
  count: number,
): Promise<Figure[]> {
  const crypto = cryptoFloorMs(2000, { signatures: 1, verifications: 2 });
  const post = await measureNestPost(JSON.stringify({ reason: 'x'.repeat(200) }), count, 32);
  await using inserts = await startChild<{ cpuMsPerInsert: number }>('baselines/insert.program.ts', [
    mesh.databaseUrl,
    String(count),
    '32',
  ]);
  const insert = inserts.ready.cpuMsPerInsert;
  const sum = crypto + post + insert;
  const part = (name: string, value: number): Figure => ({ section: 'a', name, value, unit: 'ms', samples: count });
  return [
    part('CPU floor: 2 verifications and 1 signature', crypto),
    part('CPU floor: bare Nest POST', post),
    part('CPU floor: one insert', insert),
    part('hub CPU per routed command, 32 at a time: the first after its start', hubCpu.first),
    {
      ...part('hub CPU per routed command, 32 at a time', hubCpu.settled),
      baseline: { name: 'sum of the floors', value: sum },
      goal: {
        text: `at most ${String(GOAL)} × the sum (${(hubCpu.settled / sum).toFixed(2)} ×)`,
        met: hubCpu.settled <= GOAL * sum,
      },
    },
  ];
}
