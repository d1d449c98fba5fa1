import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LocalFault } from '@capstan/protocol';

const run = promisify(execFile);
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/**
 * Runs git without hooks and prompts; credentials and addresses come from the user's own configuration.
 *
 * @throws LocalFault `git-missing`, `git-failed` with git's own words as detail
 */
export async function runGit(args: readonly string[], options: { cwd?: string } = {}): Promise<string> {
  const settings: [string, string][] = [
    ['core.hooksPath', '/dev/null'],
    ['protocol.ext.allow', 'never'],
    ['gc.auto', '0'],
    // A checkout may belong to the person, while root runs the mesh; the person named it.
    ['safe.directory', '*'],
  ];
  const config = settings.flatMap(([key, value], index) => [
    [`GIT_CONFIG_KEY_${String(index)}`, key],
    [`GIT_CONFIG_VALUE_${String(index)}`, value],
  ]);
  try {
    const { stdout } = await run('git', [...args], {
      cwd: options.cwd ?? '/',
      maxBuffer: MAX_OUTPUT_BYTES,
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: process.env['HOME'] ?? '/nonexistent',
        ...(process.env['SSH_AUTH_SOCK'] === undefined ? {} : { SSH_AUTH_SOCK: process.env['SSH_AUTH_SOCK'] }),
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_TERMINAL_PROMPT: '0',
        GIT_CONFIG_COUNT: String(settings.length),
        ...(Object.fromEntries(config) as Record<string, string>),
      },
    });
    return stdout.trim();
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === 'ENOENT')
      throw new LocalFault(
        'git-missing',
        'git is not installed; install it with the package manager ("apt-get install git").',
      );
    throw new LocalFault('git-failed', `git ${args[0] ?? ''} failed.`, stderr?.trim(), { cause: error });
  }
}
