import { join } from 'node:path';
import { newId } from '@capstan/protocol';
import { ReaperProcess } from '../../../../test/support/reaper-process.js';
import { ExitCode } from '../exit-codes.js';
import { Output } from '../output/output.js';
import { killLocal, type LocalKillOptions } from './kill-local.js';

jest.setTimeout(60_000);

describe('capstan kill --local, without an orchestrator', () => {
  let reaper: ReaperProcess;
  beforeAll(async () => {
    reaper = await ReaperProcess.started();
  });
  afterAll(async () => {
    await reaper[Symbol.asyncDispose]();
  });

  async function killed(options: LocalKillOptions, directory = reaper.directory): Promise<[number, unknown]> {
    const said: string[] = [];
    const output = new Output({
      isJson: true,
      streams: { out: { write: (text: string) => said.push(text) }, err: { write: () => true } },
    });
    await killLocal(output, directory, options);
    return [output.exitCode, JSON.parse(said.join(''))];
  }

  it('observed nobody dead where it has not seen the agent', async () => {
    const agent = newId();
    expect(await killed({ agent })).toMatchObject([
      ExitCode.timeout,
      { confirmed: false, observedDead: 0, agents: [{ agentId: agent, outcome: 'tombstoned' }] },
    ]);
  });

  it('does not call a task dead of which it does not know who waits, or that is not here', async () => {
    for (const directory of [reaper.directory, join(reaper.directory, 'nowhere')])
      expect(await killed({ task: newId() }, directory)).toMatchObject([
        ExitCode.unreachable,
        { confirmed: false, complete: false, agents: [], notes: [expect.stringContaining('may start')] },
      ]);
  });

  it('says of a scope that the orchestrator was not told', async () => {
    expect(await killed({ tenant: 'default' })).toMatchObject([
      ExitCode.ok,
      { confirmed: true, agents: [], notes: [expect.stringContaining('may still be pushed'), expect.any(String)] },
    ]);
  });
});
