/** (d) From the order at the hub's API to the agent's first model call, seen by the model's provider. */
import type { SandboxDriver } from '@capstan/sandbox';
import type { Bench } from '../agents.ts';
import { measureDriver } from '../baselines/driver.ts';
import { type Figure, percentile } from '../figures.ts';
import { type Upstream, WORK } from '../upstream.ts';

/** As a multiple of what the driver alone takes for a shell. */
const GOAL = 1.5;

/** @param driver the one that the mesh's agents run on, for its own create and start */
export async function measureSpawns(
  bench: Bench,
  upstream: Upstream,
  driver: SandboxDriver,
  count: number,
): Promise<Figure[]> {
  const samples: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const called = upstream.nextCall();
    const orderedAtMs = Date.now();
    const agentId = await bench.spawn(WORK.idle);
    samples.push((await called) - orderedAtMs);
    await bench.running(agentId);
    await bench.kill(agentId);
  }
  const alone = await measureDriver(driver, count);
  const figure = (share: number): Figure => ({
    section: 'd',
    name: `spawn to first model call, ${driver.name}: p${String(share * 100)}`,
    value: percentile(samples, share),
    unit: 'ms',
    samples: count,
    baseline: { name: `${driver.name} create and start`, value: percentile(alone, share) },
  });
  const [p50, p99] = [figure(0.5), figure(0.99)];
  const ratio = p50.value / percentile(alone, 0.5);
  const goal = { text: `at most ${String(GOAL)} × the driver's (${ratio.toFixed(1)} ×)`, met: ratio <= GOAL };
  return [{ ...p50, goal }, p99];
}
