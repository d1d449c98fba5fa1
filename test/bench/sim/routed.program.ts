/**
 * Sends commands of simulated instances to others through one hub, and prints what the hub's process spent. Arguments: the
 * hub's address, its token's file, its pid, commands, concurrency.
 */
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { serveParent } from '../child.ts';
import { HttpPeer } from '../http.ts';
import { drive } from '../load.ts';
import { cpuMs } from '../processes.ts';
import { SimSpoke } from './sim-spoke.ts';

const ORIGINS = 4;
const TARGETS = 8;
/** Commands that may wait at a target for their answer; the hub takes no more than a thousand for one instance. */
const ROUND = 4_000;

export interface RoutedLoad {
  /** Per second, until the command is at its target. */
  arrivals: number;
  /** CPU milliseconds of the hub for each of those. */
  arrivalCpuMs: number;
  /** Per second, until the target's receipt is back at the origin. */
  answers: number;
  answerCpuMs: number;
}

const [hubUrl = '', tokenFile = '', hubPid = '0', count = '1', concurrency = '32'] = process.argv.slice(2);
const pid = Number(hubPid);
using hub = new HttpPeer(hubUrl, readFileSync(tokenFile, 'utf8').trim());
const waiting = new Map<string, () => void>();
const early = new Set<string>();
/** Word of a command may come before its sender knows the digest. */
function settle(digest: string): void {
  const done = waiting.get(digest);
  waiting.delete(digest);
  if (done === undefined) early.add(digest);
  else done();
}
function settled(digest: string): Promise<void> {
  return new Promise((resolve) => {
    if (early.delete(digest)) resolve();
    else waiting.set(digest, resolve);
  });
}

async function joined(name: string): Promise<SimSpoke> {
  const linked = Promise.withResolvers<void>();
  const spoke = new SimSpoke(name, hubUrl, linked.resolve);
  await spoke.join(hub);
  await linked.promise;
  return spoke;
}
const names = (kind: string, size: number) => Array.from({ length: size }, (_, at) => `${kind}-${String(at)}`);
const run = process.argv[7] ?? 'a';
const origins = await Promise.all(names(`origin-${run}`, ORIGINS).map(joined));
const targets = await Promise.all(names(`target-${run}`, TARGETS).map(joined));
let next = 0;
const order = async () => {
  const at = next++;
  const digest = await origins[at % ORIGINS]?.order(targets[at % TARGETS]?.instanceId ?? '');
  await settled(digest ?? '');
};
const measured = async (samples: number) => {
  const before = cpuMs(pid);
  const began = performance.now();
  await drive(samples, Number(concurrency), order);
  return { ms: performance.now() - began, cpu: cpuMs(pid) - before };
};

async function roundTrips(samples: number) {
  for (const origin of origins) origin.onReceipt = settle;
  for (const target of targets) target.onRouted = () => undefined;
  return measured(samples);
}

/** Answers are held back until all commands of a round have arrived. */
async function arrivals(samples: number) {
  const sum = { ms: 0, cpu: 0 };
  for (let left = samples; left > 0; left -= ROUND) {
    const gate = Promise.withResolvers<void>();
    let unanswered = Math.min(left, ROUND);
    const answered = Promise.withResolvers<void>();
    for (const target of targets) [target.onRouted, target.mayAnswer] = [settle, gate.promise];
    for (const origin of origins) origin.onReceipt = () => --unanswered === 0 && answered.resolve();
    const { ms, cpu } = await measured(unanswered);
    [sum.ms, sum.cpu] = [sum.ms + ms, sum.cpu + cpu];
    gate.resolve();
    await answered.promise;
    for (const target of targets) target.mayAnswer = Promise.resolve();
  }
  return sum;
}

const samples = Number(count);
await roundTrips(3 * samples);
const one = await arrivals(samples);
const both = await roundTrips(samples);
const load: RoutedLoad = {
  arrivals: (samples * 1000) / one.ms,
  arrivalCpuMs: one.cpu / samples,
  answers: (samples * 1000) / both.ms,
  answerCpuMs: both.cpu / samples,
};
await serveParent(load);
await Promise.all([...origins, ...targets].map((spoke) => spoke.close()));
