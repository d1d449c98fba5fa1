import { createLogger } from '@capstan/platform';
import { agentId, newId, taskId, tenantId, type AgentId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { startTestValkey, type TestValkey } from '../../../../test/support/test-valkey.js';
import { until } from '../../../../test/support/until.js';
import type { SpawnPlan } from '../spawner/spawn-plan.js';
import { AgentQueue } from './agent.queue.js';
import { AgentWorker, type JobEnd } from './agent.worker.js';

jest.setTimeout(60_000);

/** A worker that has died is found out sooner than in earnest. */
const QUICK = { lockMs: 2_000, checkMs: 500 };
const logger = createLogger('test', { level: 'silent' });

function plan(priority: number, maxRetries = 0): SpawnPlan {
  return {
    agentId: agentId(newId()),
    taskId: taskId(newId()),
    tenant: tenantId('default'),
    priority,
    maxRetries,
  } as SpawnPlan;
}

describe('the queue of agents', () => {
  let valkey: TestValkey;
  let queue: AgentQueue;
  let worker: AgentWorker | undefined;

  beforeEach(async () => {
    valkey = await startTestValkey();
    queue = new AgentQueue(valkey.url, 30);
  });
  afterEach(async () => {
    await worker?.close();
    worker = undefined;
    await queue.close();
    await valkey.stop();
  });

  function work(concurrency: number, start: (id: AgentId) => Promise<JobEnd>): void {
    worker = new AgentWorker(valkey.url, concurrency, start, logger, QUICK);
    worker.start();
  }

  it(
    'starts the most urgent first, and equals in the order in which they came',
    proves('ORC-108', async () => {
      const plans = [5, 1, 10, 5, 7].map((priority) => plan(priority));
      for (const each of plans) await queue.add(each);
      const started: AgentId[] = [];
      work(1, async (id) => {
        started.push(id);
        return { kind: 'completed' };
      });
      await until('all were started', () => started.length === plans.length || undefined);
      expect(started).toEqual([2, 4, 0, 3, 1].map((at) => plans[at]?.agentId));
    }),
  );

  it(
    'counts what waits, runs, has completed and has not',
    proves('ORC-108', async () => {
      const ends = new Map<AgentId, (end: JobEnd) => void>();
      const plans = Array.from({ length: 4 }, () => plan(5));
      for (const each of plans) await queue.add(each);
      expect(await queue.counts()).toEqual({ pending: 4, active: 0, completed: 0, failed: 0 });
      work(2, (id) => new Promise((resolve) => ends.set(id, resolve)));
      await until('two run', () => ends.size === 2 || undefined);
      expect(await queue.counts()).toEqual({ pending: 2, active: 2, completed: 0, failed: 0 });
      ends.get(plans[0]!.agentId)?.({ kind: 'completed' });
      ends.get(plans[1]!.agentId)?.({ kind: 'failed', code: 'agent-crashed' });
      await until('the others run', () => ends.size === 4 || undefined);
      await until('all is counted', async () => {
        const { completed, failed } = await queue.counts();
        return (completed === 1 && failed === 1) || undefined;
      });
      for (const end of ends.values()) end({ kind: 'completed' });
    }),
  );

  it('keeps one job per agent, however often it is added', async () => {
    const one = plan(5);
    await Promise.all(Array.from({ length: 10 }, () => queue.add(one)));
    expect((await queue.counts()).pending).toBe(1);
  });

  it('does not try again what failed for good', async () => {
    let starts = 0;
    await queue.add(plan(5, 3));
    work(1, async () => {
      starts += 1;
      return { kind: 'failed', code: 'repository-missing' };
    });
    await until('it has failed', async () => (await queue.counts()).failed === 1 || undefined);
    expect(starts).toBe(1);
  });

  it(
    'tries again later and later what went back to the queue',
    proves('ORC-108', async () => {
      const starts: number[] = [];
      await queue.add(plan(5, 2));
      work(1, async () => {
        starts.push(Date.now());
        return starts.length < 3 ? { kind: 'retry', code: 'sandbox-failed' } : { kind: 'completed' };
      });
      await until('it has completed', async () => (await queue.counts()).completed === 1 || undefined);
      const [first = 0, second = 0, third = 0] = starts;
      expect(second - first).toBeGreaterThanOrEqual(450);
      expect(third - second).toBeGreaterThanOrEqual(950);
    }),
  );

  it(
    'starts nothing while it is paused, and what waits once it is resumed',
    proves('ORC-108', async () => {
      const [first, second] = [plan(5), plan(5)];
      const started: AgentId[] = [];
      const firstEnd = Promise.withResolvers<JobEnd>();
      await queue.add(first);
      work(2, (id) => {
        started.push(id);
        return id === first.agentId ? firstEnd.promise : Promise.resolve({ kind: 'completed' });
      });
      await until('the first runs', () => started.length === 1);
      await queue.pause();
      await queue.add(second);
      expect(await queue.view()).toMatchObject({ paused: true, pending: 1, active: 1 });
      // What runs is not concerned.
      firstEnd.resolve({ kind: 'completed' });
      await until('the first has completed', async () => (await queue.counts()).completed === 1);
      expect(started).toEqual([first.agentId]);
      await queue.resume();
      await until('the second has completed', async () => (await queue.counts()).completed === 2);
      expect(await queue.view()).toMatchObject({ paused: false, pending: 0 });
    }),
  );

  it(
    'takes no job while agents without one take every place, and goes on when one of them is gone',
    proves('ORC-108', async () => {
      const started: AgentId[] = [];
      let [running, most] = [0, 0];
      worker = new AgentWorker(
        valkey.url,
        2,
        async (id) => {
          most = Math.max(most, (running += 1));
          await queue.counts();
          started.push(id);
          running -= 1;
          return { kind: 'completed' };
        },
        logger,
        QUICK,
      );
      worker.setConcurrency(2, 2);
      worker.start();
      const others = Array.from({ length: 3 }, () => plan(5));
      for (const each of others) await queue.add(each);
      const other = new AgentWorker(valkey.url, 1, async () => ({ kind: 'completed' }), logger, QUICK);
      other.start();
      await until('the other has them', async () => (await queue.counts()).completed === 3);
      await other.close();
      expect(started).toEqual([]);
      const own = Array.from({ length: 5 }, () => plan(5));
      for (const each of own) await queue.add(each);
      worker.setConcurrency(2, 1);
      await until('it has taken its own', () => started.length === own.length || undefined);
      expect(most).toBe(1);
    }),
  );

  it(
    'starts no more within a minute than it is told',
    proves('ORC-108', async () => {
      const plans = Array.from({ length: 5 }, () => plan(5));
      for (const each of plans) await queue.add(each);
      await queue.limitRate(2);
      const started: AgentId[] = [];
      work(5, async (id) => {
        started.push(id);
        return { kind: 'completed' };
      });
      await until('two were started', async () => (await queue.counts()).completed === 2);
      expect(await queue.view()).toMatchObject({ startsPerMinute: 2, pending: 3 });
      expect(started).toHaveLength(2);
      await queue.limitRate(undefined);
      expect((await queue.view()).startsPerMinute).toBeNull();
    }),
  );

  it(
    'hands the job of a worker that has died to another, which asks the agent what there is left to do',
    proves('ORC-108', async () => {
      const one = plan(5);
      await queue.add(one);
      const held = Promise.withResolvers<undefined>();
      const dead = new AgentWorker(
        valkey.url,
        1,
        async () => {
          held.resolve(undefined);
          return new Promise<JobEnd>(() => undefined);
        },
        logger,
        QUICK,
      );
      dead.start();
      await held.promise;
      await dead.close();
      const asked: AgentId[] = [];
      work(1, async (id) => {
        asked.push(id);
        return { kind: 'failed', code: 'running' };
      });
      await until('another has it', async () => (await queue.counts()).failed === 1);
      expect(asked).toEqual([one.agentId]);
    }),
  );

  it('takes an id that is a number', async () => {
    await queue.add({ ...plan(5), agentId: agentId('42') });
    expect((await queue.counts()).pending).toBe(1);
  });

  it('mends a job that can no longer run', async () => {
    const one = plan(5);
    await queue.add(one);
    let starts = 0;
    work(1, async () => {
      starts += 1;
      return starts === 1 ? { kind: 'failed', code: 'x' } : { kind: 'completed' };
    });
    await until('it has failed', async () => (await queue.counts()).failed === 1 || undefined);
    await queue.add(one);
    expect(starts).toBe(1);
    await queue.mend(one);
    await until('it has completed', async () => (await queue.counts()).completed === 1 || undefined);
  });
});
