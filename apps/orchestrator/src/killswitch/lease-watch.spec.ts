import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@capstan/platform';
import { agentId, create, DescriptionSchema, type Description } from '@capstan/protocol';
import { isGone, type PreparedSandbox } from '@capstan/sandbox';
import { Sandboxes, until } from '../../../../test/support/sandboxes.js';
import { AgentRuns, type AgentRun } from '../spawner/agent-run.js';
import { LeaseWatch } from './lease-watch.js';

jest.setTimeout(60_000);

const logger = createLogger('test', { level: 'silent' });
const MINUTE = 60_000;

describe('the second look at leases', () => {
  let sandboxes: Sandboxes;
  let bootMs: number;
  let asked: number;
  /** What the reaper answers; it hangs where this rejects. */
  let describeReaper: () => Promise<Description>;
  let watch: LeaseWatch;

  beforeEach(() => {
    sandboxes = new Sandboxes();
    bootMs = 1_000;
    asked = 0;
    describeReaper = () => Promise.reject(new Error('silent'));
    watch = new LeaseWatch({ describe: () => ((asked += 1), describeReaper()) }, logger, () => {
      if (Number.isNaN(bootMs)) throw new Error('no time');
      return bootMs;
    });
  });
  afterEach(() => sandboxes[Symbol.asyncDispose]());

  async function running(): Promise<{ run: AgentRun; sandbox: PreparedSandbox }> {
    const sandbox = await sandboxes.prepare();
    await sandbox.go();
    const run = new AgentRuns().open(agentId(sandbox.agentId), () => undefined);
    if (run === undefined) throw new Error('a run twice');
    return { run, sandbox };
  }

  it('ends an agent whose lease is over while the reaper says nothing', async () => {
    const { run, sandbox } = await running();
    using _watch = watch.watch(run, sandbox.handle, MINUTE);
    await until(() => asked > 0);
    expect(run.intent).toBeUndefined();
    // Suspended: no timer has run meanwhile.
    bootMs += 2 * MINUTE;
    await until(() => isGone(sandbox.handle));
    expect(run.intent).toEqual({ kind: 'limit', code: 'lease-expired' });
  });

  it('signals an agent again that could not be signalled', async () => {
    const { run, sandbox } = await running();
    // The file by which a control group is killed: nobody can write to it.
    const cgroup = mkdtempSync(join(tmpdir(), 'capstan-lease-'));
    mkdirSync(join(cgroup, 'cgroup.kill'));
    const failed = jest.spyOn(logger, 'error');
    try {
      using _watch = watch.watch(run, { ...sandbox.handle, cgroup }, MINUTE);
      bootMs += 2 * MINUTE;
      await until(() => failed.mock.calls.length > 0);
      expect(isGone(sandbox.handle)).toBe(false);
      rmdirSync(join(cgroup, 'cgroup.kill'));
      await until(() => isGone(sandbox.handle));
    } finally {
      failed.mockRestore();
      rmSync(cgroup, { recursive: true });
    }
  });

  it('goes on after a moment at which the time could not be told', async () => {
    const { run, sandbox } = await running();
    using _watch = watch.watch(run, sandbox.handle, MINUTE);
    const before = bootMs;
    // As where no file can be opened.
    bootMs = NaN;
    const askedBefore = asked;
    await until(() => asked > askedBefore + 1);
    expect(isGone(sandbox.handle)).toBe(false);
    bootMs = before + 2 * MINUTE;
    await until(() => isGone(sandbox.handle));
  });

  it('asks before it judges, and believes the reaper', async () => {
    const { run, sandbox } = await running();
    describeReaper = () => {
      const agents = [{ agentId: run.agentId, leaseUntilMs: BigInt(Date.now() + MINUTE) }];
      return Promise.resolve(create(DescriptionSchema, { agents }));
    };
    using _watch = watch.watch(run, sandbox.handle, MINUTE);
    // This process alone stood still, for longer than the lease.
    bootMs += 2 * MINUTE;
    await until(() => asked > 1);
    expect(run.intent).toBeUndefined();
    expect(isGone(sandbox.handle)).toBe(false);
  });

  it('leaves alone who has no lease, and who is no longer watched', async () => {
    const [kept, ended] = [await running(), await running()];
    using _kept = watch.watch(kept.run, kept.sandbox.handle, 0);
    watch.watch(ended.run, ended.sandbox.handle, MINUTE)[Symbol.dispose]();
    const other = await running();
    using _other = watch.watch(other.run, other.sandbox.handle, MINUTE);
    bootMs += 2 * MINUTE;
    await until(() => isGone(other.sandbox.handle));
    expect([kept.run.intent, ended.run.intent]).toEqual([undefined, undefined]);
  });
});
