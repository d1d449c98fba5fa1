import type { EndReason, Report } from './output.js';
import { eachLine, startProgram, type ProgramProcess } from './program-process.js';
import { programPrompt } from './prompt.js';
import { converse } from './run-acp.js';
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

/** Runs the owner's program as the agent. It submits by ending well; what it leaves in the work tree is its work. */
export async function runProgram({ task, program, modelUrl, report, signal }: ProgramParts): Promise<EndReason> {
  const process = startProgram(program, task.repositoryDir, modelUrl);
  const kill = (): void => process.kill();
  signal.addEventListener('abort', kill, { once: true });
  const say = (text: string): void => report({ type: 'log', source: 'agent', text });
  eachLine(process.stderr, say);
  try {
    const summary = await (program.kind === 'acp'
      ? converse(process, { task, program, say })
      : listen(process, task, say));
    report({ type: 'submit', summary: summary.slice(-LONGEST_SUMMARY).trim() || `Work on task ${task.taskId}` });
    return 'submitted';
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    return signal.aborted ? 'agent-timeout' : 'agent-crashed';
  } finally {
    signal.removeEventListener('abort', kill);
    process.kill();
  }
}

/** A command: the task on its standard input, its end is its submission. @returns the end of what it has printed */
async function listen(process: ProgramProcess, task: Task, say: (text: string) => void): Promise<string> {
  let tail = '';
  eachLine(process.stdout, (line) => {
    tail = `${tail}${line}\n`.slice(-LONGEST_SUMMARY);
    say(line);
  });
  process.stdin.end(programPrompt(task));
  const end = await process.ended;
  if (end !== 0) throw new Error(`The program ended with ${String(end)}.`);
  return tail;
}
