/** (h) Commands of one instance for another through one hub, link in to link out, without HTTP. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startChild } from '../child.ts';
import type { Figure } from '../figures.ts';
import { startMesh } from '../mesh.ts';
import type { RoutedLoad } from '../sim/routed.program.ts';
import { cryptoFloorMs } from './signatures.ts';

/** Shares of what the process could do if it did nothing but its signatures. */
const GOALS = { arrivals: 60, answers: 45 };
const RULE = 'version: 1\ninstances: [{origin: "*", verbs: [status], targets: ["*"], tenants: ["*"]}]\n';

export async function measureRouting(count: number): Promise<Figure[]> {
  await using mesh = await startMesh({ instances: ['harbor'] });
  writeFileSync(join(mesh.hubStateDir, 'routing.yaml'), RULE);
  const directory = mkdtempSync(join(tmpdir(), 'capstan-bench-'));
  const tokenFile = join(directory, 'token');
  writeFileSync(tokenFile, mesh.token, { mode: 0o600 });
  const figures: Figure[] = [];
  try {
    for (const concurrency of [32, 256]) {
      const args = [
        mesh.hubUrl,
        tokenFile,
        String(mesh.hubPid),
        String(count),
        String(concurrency),
        `c${String(concurrency)}`,
      ];
      await using load = await startChild<RoutedLoad>('sim/routed.program.ts', args);
      figures.push(...rows(load.ready, concurrency, count));
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
  return figures;
}

/** To its target a command costs the hub a verification and a signature; with the receipt another verification. */
function rows(load: RoutedLoad, concurrency: number, samples: number): Figure[] {
  const whole = cryptoFloorMs(2_000);
  const way = (name: string, rate: number, cpuMs: number, floorMs: number, goal: number): Figure[] => {
    const prefix = `${name}, ${String(concurrency)} at a time`;
    const percent = (floorMs * 100) / cpuMs;
    return [
      {
        section: 'h',
        name: `${prefix}: per second`,
        value: rate,
        unit: '1/s',
        samples,
        baseline: { name: 'one core, signatures only', value: 1000 / floorMs },
      },
      {
        section: 'h',
        name: `${prefix}: signatures, of the hub's CPU`,
        value: percent,
        unit: '%',
        samples,
        goal: { text: `at least ${String(goal)} %`, met: percent >= goal },
      },
    ];
  };
  const { arrivals, arrivalCpuMs, answers, answerCpuMs } = load;
  return [
    ...way('routed to the target', arrivals, arrivalCpuMs, cryptoFloorMs(2_000, 1), GOALS.arrivals),
    ...way('spoke to spoke and back', answers, answerCpuMs, whole, GOALS.answers),
  ];
}
