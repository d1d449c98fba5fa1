import { AnthropicError } from '@anthropic-ai/sdk/error';
import { AgentLoop } from './agent-loop.js';
import { openForwarder } from './forwarder.js';
import { ModelClient } from './model-client.js';
import { isContextExceeded, isRefusedBudget } from './model-end.js';
import { OperatorInbox } from './operator-inbox.js';
import type { EndReason, Report } from './output.js';
import { runProgram } from './run-program.js';
import { readTask, type Task } from './task.js';
import { bashTool } from './tools/bash.js';
import { editTool } from './tools/edit.js';
import { submitTool } from './tools/submit.js';

export interface AgentPlaces {
  /** The task, as JSON. */
  taskFile: string;
  /** Unix socket of the model gateway. */
  gatewaySocket: string;
  /** Unix socket at which work is submitted, and the operator's messages are asked for. */
  submitSocket: string;
}

/** As the SDK spaces them, about a minute: a restart of the instance is outlived. */
const MODEL_RETRIES = 12;
/** Longest delay that a timer of Node holds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Runs one agent from its task to its end, and reports why it ended. @throws where the task cannot be read */
export async function runAgent(
  { taskFile, gatewaySocket, submitSocket }: AgentPlaces,
  report: Report,
): Promise<EndReason> {
  const task = await readTask(taskFile);
  await using forwarder = await openForwarder(gatewaySocket);
  const signal = AbortSignal.timeout(Math.min(task.limits.timeoutMs, LONGEST_TIMER_MS));
  const { program } = task;
  const reason =
    program === undefined
      ? await runLoop(task, { modelUrl: forwarder.url, submitSocket, report, signal })
      : await runProgram({ task, program, modelUrl: forwarder.url, submitSocket, report, signal });
  report({ type: 'end', reason });
  return reason;
}

interface LoopPlaces {
  modelUrl: string;
  submitSocket: string;
  report: Report;
  signal: AbortSignal;
}

/** The built-in loop. */
async function runLoop(task: Task, { modelUrl, submitSocket, report, signal }: LoopPlaces): Promise<EndReason> {
  const client = new ModelClient({
    baseURL: modelUrl,
    // The key is added outside of the sandbox; the SDK insists on one.
    apiKey: 'held-by-the-gateway',
    authToken: null,
    maxRetries: MODEL_RETRIES,
    logLevel: 'off',
  });
  const tools = [bashTool(task.repositoryDir), editTool(task.repositoryDir), submitTool(submitSocket)];
  const inbox = new OperatorInbox(submitSocket);
  return new AgentLoop({ client, task, tools, inbox, report, signal }).run().catch((error: unknown) => {
    const end = endOf(error, signal);
    report({ type: 'log', source: 'agent', text: error instanceof Error ? error.message : String(error) });
    return end;
  });
}

function endOf(error: unknown, signal: AbortSignal): EndReason {
  if (signal.aborted) return 'agent-timeout';
  if (isRefusedBudget(error)) return 'agent-budget';
  if (isContextExceeded(error)) return 'agent-context';
  if (error instanceof AnthropicError) return 'model-unavailable';
  throw error;
}
