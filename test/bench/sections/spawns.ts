/** (d) From the order at the hub's API to the agent's first model call, seen by the model's provider. */
import type { Bench } from '../agents.ts';
import { measureDriver } from '../baselines/driver.ts';
import { type Figure, percentile } from '../figures.ts';
import { type Upstream, WORK } from '../upstream.ts';

export async function measureSpawns(bench: Bench, upstream: Upstream, count: number): Promise<Figure[]> {
  const samples: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const called = upstream.nextCall();
    const orderedAtMs = Date.now();
    const agentId = await bench.spawn(WORK.idle);
    samples.push((await called) - orderedAtMs);
    await bench.running(agentId);
    await bench.kill(agentId);
  }
  const driver = await measureDriver(count);
  return [0.5, 0.99].map((share) => ({
    section: 'd',
    name: `spawn to first model call: p${String(share * 100)}`,
    value: percentile(samples, share),
    unit: 'ms',
    samples: count,
    baseline: { name: 'bubblewrap create and start', value: percentile(driver, share) },
  }));
}
