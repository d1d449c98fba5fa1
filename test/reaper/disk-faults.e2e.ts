import { execFileSync } from 'node:child_process';
import { newId } from '@capstan/protocol';
import { proves } from '../support/proves.js';
import { ReaperProcess } from '../support/reaper-process.js';

const SCOPE = { scope: 'instance', scopeId: '' } as const;

function order(): { issuer: string; id: string; digest: Uint8Array } {
  return { issuer: 'hub', id: newId(), digest: crypto.getRandomValues(new Uint8Array(32)) };
}

describe('a disk that takes no more of the reaper’s writes', () => {
  let reaper: ReaperProcess;
  beforeEach(async () => (reaper = await ReaperProcess.started()));
  afterEach(() => reaper[Symbol.asyncDispose]());

  /** By the kernel: each write of the process fails from now on, or works again. */
  const disk = (state: 'fails' | 'is well'): void => {
    const limit = state === 'fails' ? '0:' : 'unlimited:';
    execFileSync('prlimit', ['--pid', String(reaper.pid), `--fsize=${limit}`]);
  };
  const restart = async (): Promise<void> => {
    await reaper.stop('SIGKILL');
    expect(await reaper.start()).toBe('reaper-ready');
  };
  const outcome = async (agentId: string, command: ReturnType<typeof order>): Promise<string> =>
    (await reaper.client.kill({ agentId, command, timeoutMs: 5000 })).outcome;

  it(
    'has nothing confirmed, however often it is ordered: a restart forgets it',
    proves('ORC-117', async () => {
      const stop = { ...SCOPE, epoch: 1n, command: order(), timeoutMs: 5000 };
      const [agentId, command] = [newId(), order()];
      disk('fails');
      for (let time = 1; time <= 3; time++) {
        await expect(reaper.client.killAll(stop)).rejects.toMatchObject({ code: 'reaper-malformed' });
        expect(await outcome(agentId, command)).toBe('unconfirmed');
        expect((await reaper.client.kill({ agentId, timeoutMs: 5000 })).outcome).toBe('unconfirmed');
        expect((await reaper.client.observe(agentId, 5000)).outcome).toBe('unconfirmed');
      }
      await restart();
      expect((await reaper.client.describe()).killEpochs).toEqual([]);
      await expect(reaper.client.observe(agentId, 5000)).rejects.toThrow('never registered');
      expect(await reaper.client.killAll(stop)).toMatchObject({ ok: true, epoch: 1n });
    }),
  );

  it(
    'is tried again: what it takes later is confirmed then, and outlives a restart',
    proves('ORC-117', async () => {
      const stop = { ...SCOPE, epoch: 1n, command: order(), timeoutMs: 5000 };
      const [agentId, command] = [newId(), order()];
      disk('fails');
      await expect(reaper.client.killAll(stop)).rejects.toMatchObject({ code: 'reaper-malformed' });
      expect(await outcome(agentId, command)).toBe('unconfirmed');
      disk('is well');
      const told = await reaper.client.killAll(stop);
      expect(told).toMatchObject({ ok: true, epoch: 1n });
      expect(await outcome(agentId, command)).toBe('tombstoned');
      await restart();
      expect((await reaper.client.describe()).killEpochs).toMatchObject([{ scope: 'instance', epoch: 1n }]);
      expect(await reaper.client.killAll(stop)).toEqual(told);
      expect((await reaper.client.observe(agentId, 5000)).outcome).toBe('tombstoned');
    }),
  );
});
