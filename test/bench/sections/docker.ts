/** (l) What (c), (d) and (k) measure on bubblewrap, once more on Docker, with a daemon of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DockerDriver } from '@capstan/sandbox';
import { TestDocker } from '../../support/test-docker.ts';
import { Bench } from '../agents.ts';
import type { Figure } from '../figures.ts';
import { startMesh } from '../mesh.ts';
import { startUpstream } from '../upstream.ts';
import { measureIdleKills, PLACES } from './kills.ts';
import { measureLoad } from './load.ts';
import { measureSpawns } from './spawns.ts';

export async function measureDocker(counts: { spawns: number; kills: number; agents: number }): Promise<Figure[]> {
  await using docker = await TestDocker.start();
  const sandbox = { driver: 'docker', socketPath: docker.socketPath } as const;
  const figures = [...(await oneByOne(docker, counts)), ...(await measureLoad(counts.agents, sandbox))];
  return figures.map((figure) => ({ ...figure, section: 'l', name: `Docker: ${figure.name}` }));
}

async function oneByOne(docker: TestDocker, counts: { spawns: number; kills: number }): Promise<Figure[]> {
  const room = mkdtempSync(join(tmpdir(), 'capstan-bench-'));
  try {
    await using upstream = await startUpstream();
    await using mesh = await startMesh({
      instances: ['harbor'],
      policy: { concurrency: PLACES },
      sandbox: { driver: 'docker', socketPath: docker.socketPath },
      model: { provider: 'anthropic', apiKey: 'bench', url: upstream.url },
    });
    using bench = await Bench.on(mesh);
    const driver = new DockerDriver({ socketPath: docker.socketPath, room });
    const spawns = await measureSpawns(bench, upstream, driver, counts.spawns);
    return [...spawns, ...(await measureIdleKills(bench, counts.kills))];
  } finally {
    rmSync(room, { recursive: true, force: true });
  }
}
