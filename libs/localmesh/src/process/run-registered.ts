import { execFile, type ExecFileOptions } from 'node:child_process';
import { promisify } from 'node:util';
import type { ProcessRegister } from './process-register.js';

const run = promisify(execFile);

/** Runs a program to its end, known to the register meanwhile. @throws what `execFile` throws, with `stdout` and `stderr` */
export async function runRegistered(
  register: ProcessRegister,
  name: string,
  command: string,
  args: readonly string[],
  options: ExecFileOptions,
): Promise<void> {
  register.checkOpen();
  const running = run(command, args, options);
  const { pid } = running.child;
  if (pid !== undefined) register.add(name, pid);
  try {
    await running;
  } finally {
    if (pid !== undefined) register.remove(pid);
  }
}
