/** (e) What an idle local mesh holds in memory: the sum of the proportional set sizes of all its processes. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Figure } from '../figures.ts';
import type { BenchMesh } from '../mesh.ts';
import { commandOf, pssMb, treeOf } from '../processes.ts';

const GOAL_MB = 800;
const SETTLE_MS = 5000;

/** Part → what its command line holds; the first match counts. */
const PARTS: readonly [name: string, pattern: RegExp][] = [
  ['hub', /apps\/hub\/src\/main/],
  ['spokes', /apps\/spoke\/src\/main/],
  ['reapers', /reaper\/main/],
  ['orchestrators', /apps\/orchestrator\/src\/main/],
  ['PostgreSQL', /postgres/],
  ['Valkey', /(?:valkey|redis)-server/],
  ['supervisor and others', /(?:)/],
];

export async function measureMemory(mesh: BenchMesh): Promise<Figure[]> {
  await sleep(SETTLE_MS);
  const sums = new Map<string, { mb: number; processes: number }>();
  for (const pid of treeOf(mesh.supervisorPid)) {
    const name = PARTS.find(([, pattern]) => pattern.test(commandOf(pid)))?.[0] ?? '';
    const sum = sums.get(name) ?? { mb: 0, processes: 0 };
    sums.set(name, { mb: sum.mb + pssMb(pid), processes: sum.processes + 1 });
  }
  const rows = PARTS.map(([name]) => ({ name, ...(sums.get(name) ?? { mb: 0, processes: 0 }) }));
  const total = rows.reduce((sum, { mb }) => sum + mb, 0);
  return [
    {
      section: 'e',
      name: `idle mesh, ${String(mesh.instances.length)} instances: PSS`,
      value: total,
      unit: 'MB',
      samples: rows.reduce((sum, { processes }) => sum + processes, 0),
      goal: { text: `under ${String(GOAL_MB)} MB`, met: total < GOAL_MB },
    },
    ...rows.map(({ name, mb, processes }): Figure => ({
      section: 'e',
      name: `  of it ${name}`,
      value: mb,
      unit: 'MB',
      samples: processes,
    })),
  ];
}
