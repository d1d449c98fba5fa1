import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { closeValkey, connectValkey, ReaperClient } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import { isGone, type KillHandle } from '@capstan/sandbox';
import { git } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { TestExecution } from '../test-execution.js';
import type { TestSandbox } from '../test-sandbox.js';

/** The agent of these tests. */
export const TEST_AGENT = join(__dirname, '../test-agent.mjs');

/** Every sandbox owes this to an orchestrator that starts after a crash. */
export function orphansContract(sandbox: TestSandbox): void {
  describe('a former life of the orchestrator', () => {
    let execution: TestExecution;
    beforeAll(async () => {
      execution = await TestExecution.start(TEST_AGENT, undefined, undefined, sandbox.docker());
    });
    afterAll(() => execution[Symbol.asyncDispose]());

    it.each([
      ['although Valkey has forgotten everything', forgetAll],
      ['although the register of the reaper is lost as well', loseRegister],
    ])('finds and ends what its predecessor left %s, and saves the work', (_although, lose) =>
      proves(['ORC-118', 'ORC-111'], async () => {
        const { id, handle } = await atWork(execution);
        expect(handle.driver).toBe(sandbox.docker() === undefined ? 'bubblewrap' : 'docker');
        const repository = await repositoryOf(execution);
        await execution.restart(false, async () => {
          await lose(execution, handle);
          await mkdir(join(execution.settings.paths.agents, 'torn'));
          await mkdir(join(repository, 'worktrees', 'nobody'));
        });
        expect(isGone(handle)).toBe(true);
        await isClean(execution, id);
        expect(await savedWork(execution, id)).toBe('half of it');
        expect(await readdir(join(repository, 'worktrees')).catch(() => [])).toEqual([]);
        await sandbox.nothingIsLeft();
      })(),
    );
  });
}

/** An agent that runs, has half of its work done, and heeds no signal. */
export async function atWork(execution: TestExecution): Promise<{ id: AgentId; handle: KillHandle }> {
  const id = await execution.spawn('stubborn');
  await execution.agentIn(id, 'running');
  await until('it works', async () => (await execution.textOf(id)).includes('working'), 120_000);
  const handle = await registeredHandle(execution, id);
  expect(isGone(handle)).toBe(false);
  return { id, handle };
}

/** While no orchestrator runs: Valkey is empty. */
export async function forgetAll({ instance }: TestExecution): Promise<void> {
  const valkey = await connectValkey(instance.valkey.url);
  await valkey.flushall();
  await closeValkey(valkey);
}

/** While no orchestrator runs: neither Valkey nor the reaper knows of anybody. */
export async function loseRegister(execution: TestExecution, { driver, cgroup }: KillHandle): Promise<void> {
  await forgetAll(execution);
  // Without control groups nobody could find what bubblewrap has left.
  if (driver === 'bubblewrap' && cgroup === '') return;
  const { instance } = execution;
  await instance.stopReaper();
  await rm(join(instance.directory, 'reaper', 'register'));
  await instance.startReaper();
}

/** Waits until nothing of any agent is left to be cleaned up, and until that was told of this one. */
export async function isClean(execution: TestExecution, id: AgentId): Promise<void> {
  const { store, settings } = execution;
  const left = async (): Promise<string[]> => [...(await store.untidy()), ...(await readdir(settings.paths.agents))];
  await until('it is clean', async () => (await left()).length === 0, 120_000);
  await execution.toldOf(id, 'cleaned');
}

/** What the agent of `atWork` had done, where it was salvaged. */
export async function savedWork(execution: TestExecution, id: AgentId): Promise<string> {
  const kept = (await repositoryOf(execution)).replace(/git$/, 'salvage');
  return git(kept, 'show', `refs/capstan/salvage/${id}:half.md`);
}

async function repositoryOf({ settings }: TestExecution): Promise<string> {
  const names = await readdir(settings.paths.repositories);
  return join(settings.paths.repositories, names.find((name) => name.endsWith('.git')) ?? '');
}

/** As the reaper has it. */
async function registeredHandle(execution: TestExecution, id: AgentId): Promise<KillHandle> {
  const reaper = new ReaperClient(execution.settings.paths.reaperSocket);
  try {
    const { agents } = await reaper.describe();
    const handle = agents.find(({ agentId }) => agentId === id)?.handle;
    if (handle === undefined) throw new Error('not registered');
    const { driver, processes, bootId, pidNamespace, cgroup } = handle;
    if (driver !== 'bubblewrap' && driver !== 'docker') throw new Error('another driver');
    return { driver, processes, bootId, pidNamespace, cgroup };
  } finally {
    reaper.close();
  }
}
