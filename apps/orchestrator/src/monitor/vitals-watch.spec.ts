import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, type StallPolicy } from '@capstan/platform';
import { agentId } from '@capstan/protocol';
import type { KillHandle } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { AgentRun } from '../spawner/agent-run.js';
import { AgentLog } from './agent-log.js';
import { steadyNow } from './steady-time.js';
import { Vitals, type StallNotice } from './vitals.js';
import { VitalsWatch } from './vitals-watch.js';

/** Of no process at all. */
const NOBODY: KillHandle = { driver: 'bubblewrap', bootId: '', processes: [], pidNamespace: 0n, cgroup: '' };
const logger = createLogger('monitor', { level: 'silent' });

describe('the watch over agents', () => {
  let directory: string;
  beforeAll(async () => (directory = await mkdtemp(join(tmpdir(), 'capstan-watch-'))));
  afterAll(() => rm(directory, { recursive: true }));
  let scope: AsyncDisposableStack;
  beforeEach(() => (scope = new AsyncDisposableStack()));
  afterEach(async () => {
    jest.restoreAllMocks();
    await scope.disposeAsync();
  });

  /** Watches one agent for each log. */
  async function watched(policy: () => Promise<StallPolicy>, names: string[], notify: (told: StallNotice) => void) {
    const watch = new VitalsWatch({ policy, notify: async (told) => notify(told), logger, sampleMs: 5 });
    const agents = await Promise.all(
      names.map(async (name) => {
        const run = new AgentRun(
          agentId(name),
          () => undefined,
          () => undefined,
        );
        return { run, log: await AgentLog.open(join(directory, `${name}.jsonl`)) };
      }),
    );
    for (const { run, log } of agents) {
      scope.defer(() => log.close());
      scope.use(watch.watch(run, NOBODY, log));
    }
    return agents;
  }

  it(
    'goes on where one agent cannot be told of, and ends that one all the same',
    proves('ORC-L5', async () => {
      const told: string[] = [];
      const names = ['silent', 'other'];
      const policy = { afterMs: 0, action: 'kill' } as const;
      let isAway = true;
      const asked = () => (isAway ? Promise.reject(new Error('away')) : Promise.resolve(policy));
      const agents = await watched(asked, names, ({ agentId: id }) => void told.push(id));
      const [first] = agents;
      if (first === undefined) throw new Error('there is no agent');
      first.log.onAppend = () => {
        throw new Error('nobody can be told');
      };
      isAway = false;
      await until('all are ended', () => agents.every(({ run }) => run.intent?.kind === 'limit'));
      expect(told).toEqual(['other']);
    }),
  );

  it(
    'takes no change of the clock for silence',
    proves('ORC-L5', async () => {
      let looks = 0;
      const policy = (): Promise<StallPolicy> => {
        looks += 1;
        return Promise.resolve({ afterMs: 1_800_000, action: 'kill' });
      };
      const agents = await watched(policy, ['busy'], () => undefined);
      for (const step of [86_400_000, -86_400_000]) {
        const now = Date.now;
        const spy = jest.spyOn(Date, 'now').mockImplementation(() => now() + step);
        const before = looks;
        await until('it was looked at', () => looks > before + 2);
        spy.mockRestore();
      }
      expect(agents.map(({ run }) => run.intent)).toEqual([undefined]);
    }),
  );

  it('shows when something was by the clock as it goes now', () => {
    const clock = Date.parse('2030-01-01T00:00:00Z');
    jest.spyOn(Date, 'now').mockReturnValue(clock);
    const vitals = new Vitals(agentId('a'));
    const atMs = steadyNow() - 5_000;
    vitals.add({ atMs, cpuMs: 1, memoryBytes: 1, processes: 1 });
    const view = vitals.view(atMs);
    for (const shown of [view?.heartbeatAt, view?.progressAt, new Date(vitals.all()[0]?.atMs ?? 0).toISOString()]) {
      expect(Date.parse(String(shown))).toBeLessThanOrEqual(clock - 5_000);
      expect(Date.parse(String(shown))).toBeGreaterThan(clock - 600_000);
    }
  });
});
