/** (h) Commands of one instance for another: what one hub process routes, from link to link, beside what its signatures alone would take. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startChild } from '../child.ts';
import type { Figure } from '../figures.ts';
import { type BenchMesh, startMesh } from '../mesh.ts';
import type { Until } from '../sim/routed-orders.ts';
import { type CryptoWork, cryptoFloorMs } from './signatures.ts';

export interface RoutingPhase {
  until: Until;
  concurrency: number;
  count: number;
}

/** What the measuring program says of a phase; CPU is milliseconds per command. */
export interface PhaseResult {
  rate: number;
  hubCpuMs: number;
  /** Of all simulated instances together, which sign and verify as well. */
  peersCpuMs: number;
}

interface Way {
  name: string;
  /** What the hub must sign and verify for each command that goes this way. */
  crypto: CryptoWork;
  goalPercent: number;
}

/**
 * Counted in apps/hub/src/routing: `verifyForeign` and `Admissions.admit` on the way out; on the way back the receipt is
 * verified by `ReceiptIntake` and admitted once more by `ResultForwarder`.
 */
const WAYS: Record<Until, Way> = {
  acknowledged: {
    name: 'routed command, link-in to link-out',
    crypto: { verifications: 1, signatures: 1 },
    goalPercent: 60,
  },
  answered: {
    name: 'spoke to spoke, command and receipt',
    crypto: { verifications: 2, signatures: 2 },
    goalPercent: 45,
  },
};
const PAIRS = 4;
/** Times the samples, before they are taken: see section (a). */
const WARM_UP = 3;
const RULE = 'version: 1\ninstances: [{ origin: "*", verbs: [spawn, status], targets: ["*"], tenants: ["*"] }]\n';

export async function measureRouted(count: number): Promise<Figure[]> {
  const phases: RoutingPhase[] = (['acknowledged', 'answered'] as const).flatMap((until) =>
    [32, 256].map((concurrency) => ({ until, concurrency, count })),
  );
  const warmUp: RoutingPhase = { until: 'answered', concurrency: 32, count: WARM_UP * count };
  const [, ...results] = await run([warmUp, ...phases]);
  return results.flatMap(([phase, result]) => figures(phase, result));
}

async function run(phases: RoutingPhase[]): Promise<[RoutingPhase, PhaseResult][]> {
  await using mesh = await startMesh({ instances: ['harbor'] });
  writeFileSync(join(dirname(mesh.trustFile), 'hub', 'routing.yaml'), RULE);
  await using spokes = await startSpokes(mesh, phases);
  const results: [RoutingPhase, PhaseResult][] = [];
  for (const phase of phases) results.push([phase, (await spokes.nextLine()) as PhaseResult]);
  return results;
}

async function startSpokes(mesh: BenchMesh, phases: RoutingPhase[]) {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-bench-'));
  const tokenFile = join(directory, 'token');
  writeFileSync(tokenFile, mesh.token, { mode: 0o600 });
  const args = [mesh.hubUrl, tokenFile, String(mesh.hubPid), String(PAIRS), JSON.stringify(phases)];
  try {
    return await startChild('sim/routing.program.ts', args);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function figures({ until, concurrency, count }: RoutingPhase, { rate, hubCpuMs, peersCpuMs }: PhaseResult): Figure[] {
  const { name, crypto, goalPercent } = WAYS[until];
  const floorMs = cryptoFloorMs(2000, crypto);
  const cryptoBound = { name: 'crypto-bound', value: 1000 / floorMs };
  const share = (floorMs * 100) / hubCpuMs;
  const row = (what: string, value: number, unit: Figure['unit']): Figure => ({
    section: 'h',
    name: `${name}, ${String(concurrency)} at a time: ${what}`,
    value,
    unit,
    samples: count,
  });
  return [
    { ...row('per second here, peers and PostgreSQL on the same cores', rate, '1/s'), baseline: cryptoBound },
    { ...row('CPU of the hub', hubCpuMs, 'ms'), baseline: { name: 'crypto floor', value: floorMs } },
    row('CPU of the simulated peers', peersCpuMs, 'ms'),
    { ...row('per second of a hub that has its core to itself', 1000 / hubCpuMs, '1/s'), baseline: cryptoBound },
    {
      ...row('of the crypto-bound maximum', share, '%'),
      goal: { text: `at least ${String(goalPercent)} %`, met: share >= goalPercent },
    },
  ];
}
