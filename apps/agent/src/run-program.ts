import { OperatorInbox } from './operator-inbox.js';
import type { EndReason, Report } from './output.js';
import type { ProgramWork } from './program-process.js';
import { programPrompt } from './prompt.js';
import { Attempts } from './run-command.js';
import type { Task, TaskProgram } from './task.js';
import { askDesk } from './tools/submit-desk.js';
import { workUntilAccepted } from './work-until-accepted.js';

export interface ProgramParts {
  task: Task;
  program: TaskProgram;
  /** The way to the model. */
  modelUrl: string;
  /** Where work is judged, and the operator's messages are asked for. */
  submitSocket: string;
  report: Report;
  /** Aborted when the agent's time is over. */
  signal: AbortSignal;
}

/** What the program says last is its summary, up to so many characters. */
const LONGEST_SUMMARY = 4_000;

/**
 * Runs the owner's program as the agent. It submits by ending well; what it leaves in the work tree is its work. What is sent
 * back goes to it again, with the reasons, as often as the owner allows.
 */
export async function runProgram(parts: ProgramParts): Promise<EndReason> {
  const { task, program, submitSocket, report, signal } = parts;
  const say = (text: string): void => report({ type: 'log', source: 'agent', text });
  const inbox = new OperatorInbox(submitSocket);
  try {
    using running = await startWork(parts, say);
    const summary = await workUntilAccepted({
      work: async (again) =>
        (await running.work(again)).slice(-LONGEST_SUMMARY).trim() || `Work on task ${task.taskId}`,
      submit: (submission) => askDesk(submitSocket, submission, signal),
      hear: () => inbox.take(signal),
      mends: program.mends,
      say,
    });
    if (summary === undefined) return 'agent-no-submit';
    report({ type: 'submit', summary });
    return 'submitted';
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    return signal.aborted ? 'agent-timeout' : 'agent-crashed';
  }
}

async function startWork(
  { task, program, modelUrl, signal }: ProgramParts,
  say: (text: string) => void,
): Promise<ProgramWork> {
  const started = { program, directory: task.repositoryDir, prompt: programPrompt(task), modelUrl, signal, say };
  if (program.kind !== 'acp') return new Attempts(started);
  // Its schemas take longer to set up than all the rest of an agent: whoever does not speak it does not wait for them.
  const { openConversation } = await import('./run-acp.js');
  return openConversation(started);
}
