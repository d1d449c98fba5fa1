/** (g) Many instances on one hub: what a link costs, how long a mesh-wide kill takes, how soon all are back after a crash. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { startChild } from '../child.ts';
import { collectGarbage } from '../collect-garbage.ts';
import { type Figure, percentile } from '../figures.ts';
import { HttpPeer } from '../http.ts';
import { type BenchMesh, startMesh } from '../mesh.ts';
import { cpuMs, pssMb } from '../processes.ts';

const GOALS = { linkKb: 40, heartbeatPercent: 15, killAllP99Ms: 2_000, revocationP99Ms: 1_000 };
/** How many of the idle links are revoked in the end. */
const REVOKED = 100;
const SETTLED_MB = 0.3;

export interface Scale {
  /** Links that only heartbeat. */
  links: number;
  /** Instances of the mesh-wide kill and of the crash, and process trees in each. */
  spokes: number;
  trees: number;
  idleMs: number;
}

export async function measureScale(scale: Scale): Promise<Figure[]> {
  return [...(await idleLinks(scale)), ...(await killAll(scale)), ...(await recovery(scale))];
}

async function idleLinks({ links, idleMs }: Scale): Promise<Figure[]> {
  await using mesh = await startMesh({ instances: ['harbor'] });
  // Once around, so that what the first link loads is not counted as a link's.
  await (await spokes(mesh, Math.min(50, links), 0))[Symbol.asyncDispose]();
  const before = await heldMb(mesh.hubPid);
  await using _spokes = await spokes(mesh, links, 0, 'many');
  // Long enough for each to have been probed and to have told the head of its log.
  await idle(idleMs);
  const kb = ((pssMb(mesh.hubPid) - before.withGarbage) * 1024) / links;
  const held = await heldMb(mesh.hubPid);
  const cpuBefore = cpuMs(mesh.hubPid);
  const began = performance.now();
  await idle(idleMs);
  const percent = ((cpuMs(mesh.hubPid) - cpuBefore) * 100) / (performance.now() - began);
  const name = `${String(links)} idle links`;
  return [
    figure(
      `${name}: memory that the hub holds per link`,
      ((held.mb - before.mb) * 1024) / links,
      'kB',
      links,
      GOALS.linkKb,
    ),
    figure(`${name}: the same before a collection of garbage`, kb, 'kB', links),
    figure(`${name}: hub CPU, of one core`, percent, '%', links, GOALS.heartbeatPercent),
    ...(await revocations(mesh, `${name}: from the order to revoke to the closed link`)),
  ];
}

/** The hub answers a revocation once it has cut the link. */
async function revocations(mesh: BenchMesh, name: string): Promise<Figure[]> {
  using hub = new HttpPeer(mesh.hubUrl, mesh.token);
  const connections = await hub.call<{ id: string; instanceId: string }[]>('GET', '/api/v1/federation/connections');
  const times: number[] = [];
  for (const { id } of connections.filter(({ instanceId }) => instanceId.startsWith('many-')).slice(0, REVOKED)) {
    const began = performance.now();
    const path = `/api/v1/federation/connections/${id}/revoke`;
    const view = await hub.call<{ state: string; online: boolean }>('POST', path, '{}');
    times.push(performance.now() - began);
    if (view.state !== 'REVOKED' || view.online) throw new Error('a revoked instance still has a link');
  }
  return [
    figure(`${name}: p50`, percentile(times, 0.5), 'ms', times.length),
    figure(`${name}: p99`, percentile(times, 0.99), 'ms', times.length, GOALS.revocationP99Ms),
  ];
}

/** PSS as it is, and once the garbage has been collected: pages are given back over several collections. */
async function heldMb(pid: number): Promise<{ withGarbage: number; mb: number }> {
  const withGarbage = pssMb(pid);
  let mb = withGarbage;
  for (let round = 0; round < 8; round += 1) {
    const last = mb;
    await collectGarbage(pid);
    mb = pssMb(pid);
    if (Math.abs(last - mb) < SETTLED_MB) break;
  }
  return { withGarbage, mb };
}

interface KillAllLine {
  instance: string;
  confirmed: boolean;
  ms: number;
}

async function killAll({ spokes: count, trees }: Scale): Promise<Figure[]> {
  await using mesh = await startMesh({ instances: ['harbor'] });
  await using _spokes = await spokes(mesh, count, trees);
  using hub = new HttpPeer(mesh.hubUrl, mesh.token);
  const began = performance.now();
  const answer = await hub.call<{ instances: KillAllLine[] }>(
    'POST',
    '/api/v1/federation/agents/kill-all',
    JSON.stringify({ scope: 'mesh', reason: 'bench', waitMs: 20_000 }),
  );
  const totalMs = performance.now() - began;
  const simulated = answer.instances.filter(({ instance }) => instance.startsWith('sim-'));
  const unconfirmed = simulated.filter(({ confirmed }) => !confirmed).length;
  if (simulated.length !== count || unconfirmed > 0)
    throw new Error(`${String(simulated.length)} spokes answered, ${String(unconfirmed)} unconfirmed`);
  const name = `kill-all, ${String(count)} spokes with ${String(trees)} process trees each`;
  const times = simulated.map(({ ms }) => ms);
  return [
    figure(`${name}: p50 of the confirmed receipts`, percentile(times, 0.5), 'ms', count),
    figure(`${name}: p99 of the confirmed receipts`, percentile(times, 0.99), 'ms', count, GOALS.killAllP99Ms),
    figure(`${name}: the whole answer`, totalMs, 'ms', 1),
  ];
}

async function recovery({ spokes: count }: Scale): Promise<Figure[]> {
  await using mesh = await startMesh({ instances: ['harbor'] });
  await using linked = await spokes(mesh, count, 0);
  const killedAt = Date.now();
  process.kill(mesh.hubPid, 'SIGKILL');
  const { linkedAgainAt } = (await linked.nextLine()) as { linkedAgainAt: number };
  return [
    figure(`${String(count)} spokes linked again after SIGKILL of the hub`, linkedAgainAt - killedAt, 'ms', count),
  ];
}

/** @param prefix sets the ids of several crowds on one hub apart */
async function spokes(mesh: BenchMesh, count: number, trees: number, prefix = 'sim') {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-bench-'));
  const tokenFile = join(directory, 'token');
  writeFileSync(tokenFile, mesh.token, { mode: 0o600 });
  try {
    return await startChild('sim/spokes.program.ts', [mesh.hubUrl, tokenFile, String(count), String(trees), prefix]);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function idle(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function figure(name: string, value: number, unit: Figure['unit'], samples: number, goal?: number): Figure {
  const met = goal === undefined ? {} : { goal: { text: `under ${String(goal)} ${unit}`, met: value < goal } };
  return { section: 'g', name, value, unit, samples, ...met };
}
