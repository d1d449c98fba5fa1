import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HubClient, type MeshOptions } from '@capstan/localmesh';
import { startChild } from './child.ts';

/** Where the parts of the mesh under measurement are. */
export interface MeshPlaces {
  hubPid: number;
  hubUrl: string;
  token: string;
  /** Pinned keys of hub and instances. */
  trustFile: string;
  databaseUrl: string;
  instances: { id: string; dir: string; orchestratorSocket: string }[];
  /** The bare remote that spawns name. */
  repository: string;
}

/** A mesh in processes of its own, so that measuring it is no load on it. */
export interface BenchMesh extends AsyncDisposable, MeshPlaces {
  /** The process that launched and supervises everything else. */
  supervisorPid: number;
  client: HubClient;
}

/** A fresh mesh over a small repository; nothing is left of either afterwards. */
export async function startMesh(options: Pick<MeshOptions, 'instances' | 'policy' | 'model'>): Promise<BenchMesh> {
  const source = makeRepository();
  try {
    const child = await startChild<MeshPlaces>('mesh.program.ts', [JSON.stringify({ ...options, repository: source })]);
    return {
      ...child.ready,
      supervisorPid: child.pid,
      client: new HubClient(child.ready.hubUrl, child.ready.token),
      async [Symbol.asyncDispose]() {
        await child[Symbol.asyncDispose]();
        rmSync(source, { recursive: true, force: true });
      },
    };
  } catch (error) {
    rmSync(source, { recursive: true, force: true });
    throw error;
  }
}

function makeRepository(): string {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-bench-repository-'));
  const git = (...args: string[]) => execFileSync('git', ['-C', directory, ...args], { stdio: 'ignore' });
  git('init', '--initial-branch', 'main');
  for (let i = 0; i < 20; i += 1) {
    mkdirSync(join(directory, `module-${String(i)}`));
    writeFileSync(
      join(directory, `module-${String(i)}`, 'index.ts'),
      `export const module = ${String(i)};\n`.repeat(50),
    );
  }
  git('add', '.');
  git('-c', 'user.name=Bench', '-c', 'user.email=bench@localhost', 'commit', '--message', 'Twenty modules');
  return directory;
}

/** Polls a condition until it holds. @throws Error naming `what` when it does not within `timeoutMs` */
export async function until<T>(what: string, look: () => Promise<T | undefined>, timeoutMs = 60_000): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined) return seen;
    if (Date.now() > deadline) throw new Error(`not within ${String(timeoutMs)} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
