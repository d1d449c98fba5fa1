/**
 * Pairs of instances, half of which order status after status of the other half. Arguments: the hub's address, its
 * token's file, the hub's pid, how many pairs, and the phases as JSON. Prints a line when all are linked, then one for
 * each phase.
 */
import { readFileSync } from 'node:fs';
import { newId, spawnBody } from '@capstan/protocol';
import { serveParent } from '../child.ts';
import { HttpPeer } from '../http.ts';
import { drive } from '../load.ts';
import { until } from '../mesh.ts';
import { cpuMs } from '../processes.ts';
import type { PhaseResult, RoutingPhase } from '../sections/routed.ts';
import { introduce, SimSpoke } from './sim-spoke.ts';

const [hubUrl = '', tokenFile = '', hubPid = '', pairCount = '1', phases = '[]'] = process.argv.slice(2);
using hub = new HttpPeer(hubUrl, readFileSync(tokenFile, 'utf8').trim());

interface Pair {
  origin: SimSpoke;
  target: SimSpoke;
  agentId: string;
}

async function linked(instanceId: string): Promise<SimSpoke> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const spoke = new SimSpoke(instanceId, hubUrl, resolve);
  await spoke.join(hub);
  await promise;
  return spoke;
}

async function makePair(at: number): Promise<Pair> {
  const [origin, target] = [await linked(`origin-${String(at)}`), await linked(`target-${String(at)}`)];
  return { origin, target, agentId: newId() };
}

/** The hub knows an agent from its spawn on. */
async function spawnAgent({ origin, target, agentId }: Pair): Promise<void> {
  const context = { repository: '/srv/repository', workItems: ['Wait.'] };
  const body = spawnBody({ agentId, agentType: 'worker', context });
  await origin.orders.give(target.instanceId, body, 'answered');
}

async function runPhase(
  pairs: readonly Pair[],
  { count, concurrency, until: end }: RoutingPhase,
): Promise<PhaseResult> {
  for (const { target } of pairs) target.takesStatus = end;
  const arrived = () => pairs.reduce((sum, { target }) => sum + target.routedIn.size, 0);
  const before = { hub: cpuMs(Number(hubPid)), peers: cpuMs(process.pid), arrived: arrived() };
  let next = 0;
  const { rate } = await drive(count, concurrency, async () => {
    const { origin, target, agentId } = pairs[(next += 1) % pairs.length] ?? raise();
    await origin.orders.give(
      target.instanceId,
      { case: 'status', value: { $typeName: 'capstan.v1.AgentStatus', agentId } },
      end,
    );
  });
  const afterwards = { hub: cpuMs(Number(hubPid)), peers: cpuMs(process.pid) };
  await until('every command has left the hub', () =>
    Promise.resolve(arrived() - before.arrived === count ? true : undefined),
  );
  return {
    rate,
    hubCpuMs: (afterwards.hub - before.hub) / count,
    peersCpuMs: (afterwards.peers - before.peers) / count,
  };
}

function raise(): never {
  throw new Error('no pairs');
}

const pairs = await Promise.all(Array.from({ length: Number(pairCount) }, (_, at) => makePair(at)));
introduce(pairs.flatMap(({ origin, target }) => [origin, target]));
await Promise.all(pairs.map(spawnAgent));
const finished = serveParent({ linked: 2 * pairs.length });
for (const phase of JSON.parse(phases) as RoutingPhase[]) console.log(JSON.stringify(await runPhase(pairs, phase)));
await finished;
await Promise.all(pairs.flatMap(({ origin, target }) => [origin.close(), target.close()]));
