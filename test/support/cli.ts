import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CLI = join(process.cwd(), 'dist/apps/cli/src/main.js');

/**
 * Runs the built `capstan … --json`.
 *
 * @param env beside the environment of this process
 * @returns its exit code and the one object that it says
 * @throws Error of the process where it says none
 */
export async function capstanJson<T = Record<string, unknown>>(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number; answer: T }> {
  try {
    const { stdout } = await run(process.execPath, [CLI, ...args, '--json'], { env: { ...process.env, ...env } });
    return { code: 0, answer: JSON.parse(stdout) as T };
  } catch (error) {
    const { code, stdout } = error as { code?: unknown; stdout?: string };
    if (typeof code !== 'number' || stdout === undefined || stdout === '') throw error;
    return { code, answer: JSON.parse(stdout) as T };
  }
}
