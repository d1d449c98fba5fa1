/** `npm run bench [-- OPTIONS]`: the figures of docs/benchmarks.md, of those sections that are asked for, each beside its baseline. */
import { cpus, loadavg } from 'node:os';
import { BubblewrapDriver } from '@capstan/sandbox';
import { Bench } from './agents.ts';
import { type Figure, formatTable } from './figures.ts';
import { startMesh } from './mesh.ts';
import { readOptions } from './options.ts';
import { measureAlternatives } from './sections/alternatives.ts';
import { measureCommands } from './sections/commands.ts';
import { measureDocker } from './sections/docker.ts';
import { killLoad, measureKills, PLACES } from './sections/kills.ts';
import { measureGateway } from './sections/gateway.ts';
import { measureLoad } from './sections/load.ts';
import { measureMemory } from './sections/memory.ts';
import { measureRouted } from './sections/routed.ts';
import { measureScale } from './sections/scale.ts';
import { measureSignatures } from './sections/signatures.ts';
import { measureSpawns } from './sections/spawns.ts';
import { measureWorktrees } from './sections/worktrees.ts';
import { startUpstream } from './upstream.ts';

const { sections: wanted, isQuick, isJson } = readOptions();
/** `--quick` takes a tenth of the samples: to see that it runs, not to quote. */
const samples = (count: number) => (isQuick ? Math.ceil(count / 10) : count);

const load = loadavg()[0] ?? 0;
const machine = `${String(cpus().length)} × ${cpus()[0]?.model ?? 'CPU'}, node ${process.version}, load ${load.toFixed(1)} before`;
if (load > 0.5) process.stderr.write(`This machine is busy (load ${load.toFixed(1)}): the figures will say so.\n`);

const figures: Figure[] = [];
async function section(letter: string, measure: () => Figure[] | Promise<Figure[]>): Promise<void> {
  if (!wanted.has(letter)) return;
  process.stderr.write(`(${letter}) …\n`);
  const found = await measure();
  figures.push(...found);
  if (isJson) for (const figure of found) console.log(JSON.stringify(figure));
}

await section('b', () => measureSignatures(samples(20_000)));
if (['a', 'c', 'd', 'e'].some((letter) => wanted.has(letter))) {
  await using upstream = await startUpstream();
  await using mesh = await startMesh({
    instances: ['harbor', 'quay'],
    policy: { concurrency: PLACES },
    model: { provider: 'anthropic', apiKey: 'bench', url: upstream.url },
  });
  using bench = await Bench.on(mesh);
  // Memory first: nothing has run yet. Kills last: they leave a long queue.
  await section('e', () => measureMemory(mesh));
  await section('a', () => measureCommands(bench, samples(4000)));
  await section('d', () => measureSpawns(bench, upstream, new BubblewrapDriver(), samples(50)));
  await section('c', () => measureKills(bench, killLoad(samples)));
}
await section('f', () => measureAlternatives({ nats: samples(20_000), ssh: samples(200) }));
await section('g', () =>
  measureScale({ links: samples(2000), spokes: samples(200), trees: 5, idleMs: samples(30_000) }),
);
await section('h', () => measureRouted(samples(8000)));
await section('i', () => measureGateway(samples(2000)));
await section('j', () => measureWorktrees(Math.max(3, samples(5))));
await section('k', async () => [...(await measureLoad(10)), ...(await measureLoad(isQuick ? 25 : 100))]);
await section('l', () => measureDocker({ spawns: samples(30), kills: samples(30), agents: 10 }));
if (!isJson) {
  console.log(formatTable(figures.toSorted((a, b) => a.section.localeCompare(b.section))));
  console.log(`\n${machine}`);
}
