import { createLogger } from '@capstan/platform';
import { proves } from '../../../../test/support/proves.js';
import { planFor } from '../../test/plans.js';
import { Sweep, type SweepParts } from '../queue/sweep.js';
import type { Claim } from '../valkey/agent.store.js';
import { AgentRuns } from './agent-run.js';
import type { FoundAgent } from './found-agent.js';
import { Spawner, type SpawnerParts } from './spawner.service.js';

const logger = createLogger('test', { level: 'silent' });

/** Parts that do nothing, and of which nothing ends. */
function idle<T extends object>(parts: object): T {
  const nothing = (): unknown => new Promise(() => undefined);
  return new Proxy(parts, { get: (all, name) => Reflect.get(all, name) ?? new Proxy({}, { get: () => nothing }) }) as T;
}

describe('an agent that is adopted by the spawner', () => {
  it(
    "takes one of the owner's places until its job has come back",
    proves('ORC-108', async () => {
      const nobody = { [Symbol.dispose]: () => undefined };
      const watch = (): object => nobody;
      const launched = { warnings: [], sandbox: {} };
      const spawner = new Spawner(
        idle<SpawnerParts>({
          runs: new AgentRuns(),
          logger,
          monitor: { begin: async () => ({ append: () => undefined }), end: async () => undefined },
          launcher: { adopt: async () => launched },
          leases: { watch },
          vitals: { watch },
        }),
      );
      const given: unknown[] = [];
      const sweep = new Sweep(
        idle<SweepParts>({
          spawner,
          logger,
          worker: { setConcurrency: (...figures: number[]) => given.push(figures) },
          files: { policy: async () => ({ spawn: { concurrency: 3 } }) },
          queue: { limitRate: async () => undefined },
        }),
      );
      const plan = planFor();
      const claim = { plan, fence: 1, agent: { state: 'running', startedAt: null } } as unknown as Claim;
      await spawner.adopt(claim, {} as FoundAgent);
      await sweep.applyLimits();
      void spawner.start(plan.agentId);
      await sweep.applyLimits();
      expect(given).toEqual([
        [3, 1],
        [3, 0],
      ]);
    }),
  );

  it(
    'is judged at its end where its last submission stands',
    proves('ORC-112', async () => {
      const stand = { onto: 'a'.repeat(40), by: 'merge' };
      const nothing = async (): Promise<void> => undefined;
      const watch = (): object => ({ [Symbol.dispose]: () => undefined });
      const taken = Promise.withResolvers<unknown>();
      const spawner = new Spawner(
        idle<SpawnerParts>({
          runs: new AgentRuns(),
          logger,
          monitor: { begin: async () => ({ append: () => undefined }), end: nothing },
          launcher: {
            adopt: async () => ({
              warnings: [],
              sandbox: {},
              submits: { close: nothing, stand },
              gateway: { close: nothing, outage: () => undefined, usage: () => undefined },
            }),
          },
          leases: { watch },
          vitals: { watch },
          supervisor: { watch: async () => ({ kind: 'submitted', summary: 'Done' }) },
          harvester: { take: async (...order: unknown[]) => taken.resolve(order.at(-1)) },
        }),
      );
      const claim = { plan: planFor(), fence: 1, agent: { state: 'running', startedAt: null } } as unknown as Claim;
      await spawner.adopt(claim, {} as FoundAgent);
      expect(await taken.promise).toEqual({ ...stand, summary: 'Done' });
    }),
  );
});
