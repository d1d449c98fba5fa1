import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { EndReason, Report } from './output.js';
import { programPrompt } from './prompt.js';
import type { Task, TaskProgram } from './task.js';

export interface ProgramParts {
  task: Task;
  program: TaskProgram;
  /** The way to the model. */
  modelUrl: string;
  report: Report;
  /** Aborted when the agent's time is over. */
  signal: AbortSignal;
}

/** What the program says last is its summary, up to so many characters. */
const LONGEST_SUMMARY = 4_000;
/** How long its pipes are read on, in case something that it left behind holds them open. */
const LAST_WORDS_MS = 500;

/**
 * Runs the owner's program as the agent: the task on its standard input, the model where it looks for one. It submits by
 * ending well; what it leaves in the work tree is its work.
 */
export async function runProgram({ task, program, modelUrl, report, signal }: ProgramParts): Promise<EndReason> {
  const [file = '', ...parameters] = program.run;
  const child = spawn(file, parameters, {
    cwd: task.repositoryDir,
    env: { ...process.env, ...program.environment, ...modelEnvironment(modelUrl) },
    stdio: ['pipe', 'pipe', 'pipe'],
    // A group of its own, so that it can be ended with what it has started; what has left the group dies with the sandbox.
    detached: true,
  });
  const kill = (): void => killGroup(child);
  signal.addEventListener('abort', kill, { once: true });
  try {
    // A program need not read its task to the end.
    child.stdin.on('error', () => undefined);
    child.stdin.end(programPrompt(task));
    const said = listen(child.stdout, (text) => report({ type: 'log', source: 'agent', text }));
    listen(child.stderr, (text) => report({ type: 'log', source: 'agent', text }));
    const closed = once(child, 'close').catch(() => undefined);
    const [code, by] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    kill();
    await Promise.race([closed, delay(LAST_WORDS_MS)]);
    if (signal.aborted) return 'agent-timeout';
    if (code !== 0) {
      report({ type: 'log', source: 'agent', text: `The program ended with ${by ?? String(code)}.` });
      return 'agent-crashed';
    }
    report({ type: 'submit', summary: said.tail().trim() || `Work on task ${task.taskId}` });
    return 'submitted';
  } catch (error) {
    // It could not be started.
    report({ type: 'log', source: 'agent', text: error instanceof Error ? error.message : String(error) });
    return 'agent-crashed';
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

/** The key is added outside of the sandbox; programs insist on one. */
function modelEnvironment(url: string): Record<string, string> {
  return { ANTHROPIC_BASE_URL: url, ANTHROPIC_API_KEY: 'held-by-the-gateway' };
}

function listen(stream: Readable, onLine: (line: string) => void): { tail: () => string } {
  let tail = '';
  createInterface({ input: stream }).on('line', (line) => {
    tail = `${tail}${line}\n`.slice(-LONGEST_SUMMARY);
    onLine(line);
  });
  return { tail: () => tail };
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing of it is left.
  }
}
