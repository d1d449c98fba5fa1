import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readProcess, type KillHandle } from '@capstan/sandbox';
import { until } from '../../../test/support/until.js';

/**
 * Keeps a sandbox's init from dying, as a dead disk would, until it is disposed of: SIGKILL is taken, and the init does not end.
 * The kernel ends no PID namespace before every process in it was collected by its parent; ours has one in it and stands still.
 * Needs root.
 */
export async function keepFromDying({ processes }: KillHandle): Promise<AsyncDisposable> {
  const init = String(processes.at(-1)?.pid);
  const parent = spawn('nsenter', ['--target', init, '--pid', 'sh', '-c', 'echo in; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const gone = once(parent, 'exit').then(() => Promise.reject(new Error('nothing got into its PID namespace')));
  await Promise.race([once(parent.stdout, 'data'), gone]);
  parent.kill('SIGSTOP');
  await until('its parent stands still', () => readProcess(parent.pid ?? 0)?.state === 'T');
  return {
    [Symbol.asyncDispose]: async () => {
      const ended = parent.exitCode === null && parent.signalCode === null ? once(parent, 'exit') : undefined;
      parent.stdin.end();
      parent.kill('SIGCONT');
      await ended;
    },
  };
}
