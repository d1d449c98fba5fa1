import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../../../../test/support/until.js';
import { processIdentity } from './process-identity.js';
import { ProcessRegister } from './process-register.js';
import { SupervisedProcess } from './supervised-process.js';

describe('a supervised process', () => {
  let directory: string;
  let register: ProcessRegister;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'capstan-process-'));
    register = new ProcessRegister(join(directory, 'processes.json'));
  });
  afterEach(async () => {
    await register.endAll();
    rmSync(directory, { recursive: true, force: true });
  });

  const shell = (script: string, isReady: () => boolean): SupervisedProcess =>
    new SupervisedProcess(
      {
        name: 'sample',
        command: '/bin/sh',
        args: ['-c', script],
        env: { PATH: process.env['PATH'] ?? '' },
        cwd: directory,
        logFile: join(directory, 'sample.log'),
        isReady,
      },
      register,
    );
  const started = (): boolean => existsSync(join(directory, 'started'));

  it('is started again at once, each time it dies unasked', async () => {
    await using sample = disposable(shell('touch started; exec sleep 60', started));
    await sample.process.start();
    for (const round of [1, 2, 3]) {
      const before = sample.process.pid;
      const killedAt = performance.now();
      sample.process.kill('SIGKILL');
      await until('it runs again', () => sample.process.pid !== undefined && sample.process.pid !== before);
      expect(performance.now() - killedAt).toBeLessThan(5_000);
      expect(sample.process.restarts).toBe(round);
    }
  });

  it('fails with the end of its log where it dies before it is ready, and is not started again', async () => {
    const sample = shell('echo "no such thing" >&2; exit 3', () => false);
    await expect(sample.start()).rejects.toMatchObject({
      code: 'process-failed',
      detail: expect.stringContaining('no such thing') as string,
    });
    expect({ pid: sample.pid, restarts: sample.restarts }).toEqual({ pid: undefined, restarts: 0 });
  });

  it('fails where the program does not exist', async () => {
    const sample = new SupervisedProcess(
      {
        name: 'sample',
        command: '/nonexistent',
        args: [],
        env: {},
        cwd: directory,
        logFile: join(directory, 'log'),
        isReady: () => true,
      },
      register,
    );
    await expect(sample.start()).rejects.toMatchObject({ code: 'process-failed' });
  });

  it('ends with its children even where it ignores the request', async () => {
    const sample = shell('trap "" TERM; sleep 60 & echo $! > child; touch started; wait; sleep 60', started);
    await sample.start();
    const child = Number(readFileSync(join(directory, 'child'), 'utf8'));
    await sample.stop(50);
    await until('its child is gone', () => processIdentity(child) === null);
    expect(sample.pid).toBeUndefined();
  });

  it('does not start once the mesh is being taken down', async () => {
    register.close();
    await expect(shell('true', () => true).start()).rejects.toMatchObject({ code: 'stopped' });
  });

  it('is found and ended by the next start after the supervisor was lost', async () => {
    const sample = shell('touch started; exec sleep 60', started);
    await sample.start();
    const pid = sample.pid ?? 0;
    // Nobody restarts it: the supervisor is gone in this story.
    register.close();
    expect(await new ProcessRegister(join(directory, 'processes.json')).endLeftovers()).toEqual(['sample']);
    expect(processIdentity(pid)).toBeNull();
  });

  it('leaves alone a process that merely has the pid of an old one', async () => {
    writeFileSync(
      join(directory, 'processes.json'),
      JSON.stringify([{ name: 'old', pid: process.pid, identity: 'another-boot:1' }]),
    );
    expect(await register.endLeftovers()).toEqual([]);
  });
});

function disposable(process: SupervisedProcess): AsyncDisposable & { process: SupervisedProcess } {
  return { process, [Symbol.asyncDispose]: () => process.stop(100) };
}
