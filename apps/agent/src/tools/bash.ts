import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { failure, fieldOf, type Tool, type ToolOutcome } from './tool.js';
import { TailBuffer } from './tail-buffer.js';

const DEFAULT_TIMEOUT_S = 120;
const MOST_TIMEOUT_S = 24 * 3600;
/** Characters of output that the model is shown. */
const MOST_OUTPUT = 30_000;
/** How long the pipes of a command that has ended are read on, in case something it left behind holds them open. */
const LAST_WORDS_MS = 100;
const SHELL = ['/bin/bash', '/usr/bin/bash'].find((path) => existsSync(path)) ?? '/bin/sh';

/** Runs commands in the work tree, each in a shell of its own. */
export function bashTool(directory: string): Tool {
  return {
    definition: {
      name: 'bash',
      description:
        'Runs a command with bash in the work tree and returns its output. Each call is a new shell: nothing but files stays between calls. There is no network. The .git directory is read-only.',
      input_schema: {
        type: 'object',
        properties: {
          command: { type: 'string', description: 'The command to run.' },
          timeout_seconds: { type: 'number', description: `Limit in seconds; default ${String(DEFAULT_TIMEOUT_S)}.` },
        },
        required: ['command'],
      },
    },
    describe: (input) => `bash: ${String(fieldOf(input, 'command')).trim()}`,
    run: async (input, signal) => {
      const command = fieldOf(input, 'command');
      const seconds = fieldOf(input, 'timeout_seconds') ?? DEFAULT_TIMEOUT_S;
      if (typeof command !== 'string' || command.includes('\0')) return failure('command: must be text');
      if (typeof seconds !== 'number' || !(seconds > 0 && seconds <= MOST_TIMEOUT_S))
        return failure('timeout_seconds: must be above zero');
      return runCommand(directory, command, seconds * 1000, signal);
    },
  };
}

async function runCommand(
  directory: string,
  command: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ToolOutcome> {
  const child = spawn(SHELL, ['-c', command], {
    cwd: directory,
    env: environment(),
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that a timeout ends what the command has started.
    detached: true,
  });
  const output = new TailBuffer(MOST_OUTPUT);
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => output.push(chunk));
  const limit = AbortSignal.any([signal, AbortSignal.timeout(Math.min(timeoutMs, 2 ** 31 - 1))]);
  const kill = (): void => killGroup(child);
  limit.addEventListener('abort', kill, { once: true });
  try {
    const { exitCode, killedBy, fault } = await exitOf(child);
    if (fault !== undefined) return failure(fault);
    const text = output.text().trimEnd();
    if (limit.aborted) return failure(`${text}\n[stopped: the time limit has passed]`);
    if (killedBy !== null) return failure(`${text}\n[ended by ${killedBy}]`);
    return exitCode === 0 ? { text, isError: false } : failure(`${text}\n[exit code ${String(exitCode)}]`);
  } finally {
    limit.removeEventListener('abort', kill);
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

interface Exit {
  exitCode: number | null;
  killedBy: string | null;
  fault?: string;
}

async function exitOf(child: ChildProcess): Promise<Exit> {
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const exit = await new Promise<Exit>((resolve) => {
    child.once('exit', (exitCode, killedBy) => resolve({ exitCode, killedBy }));
    child.once('error', (error) => resolve({ exitCode: null, killedBy: null, fault: error.message }));
  });
  if (exit.fault === undefined) await Promise.race([closed, delay(LAST_WORDS_MS)]);
  return exit;
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended just now.
  }
}

/** Programs are told nothing about how this one reaches its model. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('ANTHROPIC_') && !name.startsWith('CAPSTAN_')),
  );
}
