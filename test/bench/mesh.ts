import type { MeshOptions } from '@capstan/localmesh';
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
}

/** A fresh mesh over a small repository; nothing is left of either afterwards. */
export async function startMesh(
  options: Pick<MeshOptions, 'instances' | 'policy' | 'model' | 'sandbox'>,
): Promise<BenchMesh> {
  const child = await startChild<MeshPlaces>('mesh.program.ts', [JSON.stringify(options)]);
  return {
    ...child.ready,
    supervisorPid: child.pid,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
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
