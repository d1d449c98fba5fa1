/** (f) What a user would take instead for a request and its reply: NATS, or OpenSSH over a shared connection. */
import { measureNats } from '../baselines/nats.ts';
import { measureSsh } from '../baselines/ssh.ts';
import { type Figure, percentile } from '../figures.ts';
import type { LoadResult } from '../load.ts';

/** About an agent.status with its header and signature. */
const MESSAGE = new Uint8Array(400).fill(7);

export async function measureAlternatives(samples: { nats: number; ssh: number }): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const concurrency of [1, 32]) {
    figures.push(
      ...rows(`NATS, ${String(concurrency)} at a time`, await measureNats(MESSAGE, samples.nats, concurrency)),
    );
  }
  for (const concurrency of [1, 8]) {
    figures.push(
      ...rows(`OpenSSH, ${String(concurrency)} at a time`, await measureSsh(MESSAGE, samples.ssh, concurrency)),
    );
  }
  return figures;
}

function rows(name: string, { latencies, rate }: LoadResult): Figure[] {
  const row = (what: string, value: number, unit: Figure['unit']): Figure => ({
    section: 'f',
    name: `${name}: ${what}`,
    value,
    unit,
    samples: latencies.length,
  });
  return [row('p50', percentile(latencies, 0.5), 'ms'), row('requests per second', rate, '1/s')];
}
