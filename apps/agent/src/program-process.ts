import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { TaskProgram } from './task.js';

/** How its pipes are read on, in case something that it left behind holds them open; milliseconds. */
const LAST_WORDS_MS = 500;

/** What is started, and with what. */
export interface ProgramStart {
  program: TaskProgram;
  /** The work tree. */
  directory: string;
  /** The task. */
  prompt: string;
  /** The way to the model. */
  modelUrl: string;
  /** Ends the program. */
  signal: AbortSignal;
  say: (text: string) => void;
}

/** What works on the task: the owner's program, started anew each time or asked in turns. */
export interface ProgramWork extends Disposable {
  /** Has it work. @param again what it is told after its first work. @returns what it said last. @throws Error where it fails */
  work(again?: string): Promise<string>;
}

/** The owner's program while it runs; disposed of, it is ended with what it has started. */
export interface ProgramProcess extends Disposable {
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
  /** How it has ended: its status, or the signal. @throws Error where it could not be started */
  ended: Promise<number | NodeJS.Signals | null>;
}

/** Starts the owner's program in the work tree, with the model where it looks for one. */
export function startProgram({ program, directory, modelUrl, signal }: ProgramStart): ProgramProcess {
  signal.throwIfAborted();
  const [file = '', ...parameters] = program.run;
  const child = spawn(file, parameters, {
    cwd: directory,
    env: { ...process.env, ...program.environment, ...modelEnvironment(modelUrl) },
    stdio: ['pipe', 'pipe', 'pipe'],
    // A group of its own, so that it can be ended with what it has started; what has left the group dies with the sandbox.
    detached: true,
  });
  // A program need not read what it is told to the end.
  child.stdin.on('error', () => undefined);
  const ended = endOf(child);
  ended.catch(() => undefined);
  const kill = (): void => killGroup(child);
  signal.addEventListener('abort', kill, { once: true });
  const end = (): void => {
    signal.removeEventListener('abort', kill);
    kill();
  };
  return { stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, ended, [Symbol.dispose]: end };
}

async function endOf(child: ChildProcess): Promise<number | NodeJS.Signals | null> {
  const closed = once(child, 'close').catch(() => undefined);
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  killGroup(child);
  await Promise.race([closed, delay(LAST_WORDS_MS)]);
  return code ?? signal;
}

/** The key is added outside of the sandbox; programs insist on one. */
function modelEnvironment(url: string): Record<string, string> {
  return { ANTHROPIC_BASE_URL: url, ANTHROPIC_API_KEY: 'held-by-the-gateway' };
}

/** Calls for each line. */
export function eachLine(stream: Readable, onLine: (line: string) => void): void {
  createInterface({ input: stream }).on('line', onLine);
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing of it is left.
  }
}
