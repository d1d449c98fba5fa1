/** (i) What the gateway adds to a streamed request: through its socket, against a direct call to the same upstream. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, type IncomingMessage, request, type RequestOptions } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startChild } from '../child.ts';
import { type Figure, percentile } from '../figures.ts';
import { startUpstream } from '../upstream.ts';

const BODY = JSON.stringify({
  model: 'claude-sonnet-5-5',
  max_tokens: 1000,
  stream: true,
  messages: [{ role: 'user', content: 'x'.repeat(20_000) }],
});
const WARM_UP = 200;

/** Both ways in turn, so that a slow second of the machine hits both. */
export async function measureGateway(count: number): Promise<Figure[]> {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-bench-'));
  const socketPath = join(directory, 'gateway.sock');
  try {
    await using upstream = await startUpstream();
    await using _gateway = await startChild('gateway.program.ts', [upstream.url, socketPath]);
    const { hostname, port } = new URL(upstream.url);
    using ways = new Ways({ direct: { hostname, port }, gateway: { socketPath } });
    for (let i = 0; i < WARM_UP; i += 1) for (const way of ['direct', 'gateway'] as const) await ways.ask(way);
    const samples = { direct: [] as Timing[], gateway: [] as Timing[] };
    for (let i = 0; i < count; i += 1) {
      for (const way of ['direct', 'gateway'] as const) samples[way].push(await ways.ask(way));
    }
    return figuresOf(samples, count);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function figuresOf(samples: Record<'direct' | 'gateway', Timing[]>, count: number): Figure[] {
  const at = (way: 'direct' | 'gateway', what: keyof Timing, share: number): number =>
    percentile(
      samples[way].map((timing) => timing[what]),
      share,
    );
  const figure = (what: keyof Timing, name: string, share: number): Figure => ({
    section: 'i',
    name: `streamed request through the gateway, ${name}: p${String(share * 100)}`,
    value: at('gateway', what, share),
    unit: 'ms',
    samples: count,
    baseline: { name: 'direct call, same upstream', value: at('direct', what, share) },
  });
  const added = at('gateway', 'wholeMs', 0.5) - at('direct', 'wholeMs', 0.5);
  return [
    figure('firstMs', 'to the first byte', 0.5),
    figure('wholeMs', 'to the last byte', 0.5),
    figure('wholeMs', 'to the last byte', 0.99),
    {
      section: 'i',
      name: 'added by the gateway: p50',
      value: added,
      unit: 'ms',
      samples: count,
      goal: { text: 'under 3 ms', met: added < 3 },
    },
  ];
}

/** Milliseconds from the request. */
interface Timing {
  firstMs: number;
  wholeMs: number;
}

/** Kept connections, as a client's are. */
class Ways implements Disposable {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 1 });
  private readonly targets: Record<'direct' | 'gateway', RequestOptions>;

  constructor(targets: Record<'direct' | 'gateway', RequestOptions>) {
    this.targets = targets;
  }

  async ask(way: 'direct' | 'gateway'): Promise<Timing> {
    const began = performance.now();
    const headers = { 'content-type': 'application/json' };
    const sent = request({ ...this.targets[way], agent: this.agent, method: 'POST', path: '/v1/messages', headers });
    sent.end(BODY);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    if (response.statusCode !== 200) throw new Error(`${way}: ${String(response.statusCode)}`);
    let firstMs = 0;
    for await (const _ of response) if (firstMs === 0) firstMs = performance.now() - began;
    return { firstMs, wholeMs: performance.now() - began };
  }

  [Symbol.dispose](): void {
    this.agent.destroy();
  }
}
