import { performance } from 'node:perf_hooks';

export interface LoadResult {
  /** Milliseconds per call, in the order of completion. */
  latencies: number[];
  /** Calls per second over the whole run. */
  rate: number;
}

/** Makes `count` calls, `concurrency` at a time: each worker starts its next call when its last one has ended. */
export async function drive(count: number, concurrency: number, call: () => Promise<unknown>): Promise<LoadResult> {
  const latencies: number[] = [];
  let left = count;
  const started = performance.now();
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      const before = performance.now();
      await call();
      latencies.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, count) }, worker));
  return { latencies, rate: (count * 1000) / (performance.now() - started) };
}
