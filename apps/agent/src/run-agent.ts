import Anthropic, { AnthropicError, APIError } from '@anthropic-ai/sdk';
import { AgentLoop } from './agent-loop.js';
import { openForwarder } from './forwarder.js';
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
  /** Unix socket at which work is submitted. */
  submitSocket: string;
}

/** Longest delay that a timer of Node holds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** What the gateway says, with 402, where the budget does not allow another request; an unpaid account says something else. */
const BUDGET_REFUSAL = 'agent-budget:';

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
      : await runProgram({ task, program, modelUrl: forwarder.url, report, signal });
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
  const client = new Anthropic({
    baseURL: modelUrl,
    // The key is added outside of the sandbox; the SDK insists on one.
    apiKey: 'held-by-the-gateway',
    authToken: null,
    maxRetries: 4,
    logLevel: 'off',
  });
  const tools = [bashTool(task.repositoryDir), editTool(task.repositoryDir), submitTool(submitSocket)];
  return new AgentLoop({ client, task, tools, report, signal }).run().catch((error: unknown) => {
    const end = endOf(error, signal);
    report({ type: 'log', source: 'agent', text: error instanceof Error ? error.message : String(error) });
    return end;
  });
}

function endOf(error: unknown, signal: AbortSignal): EndReason {
  if (signal.aborted) return 'agent-timeout';
  if (error instanceof APIError && error.status === 402 && error.message.includes(BUDGET_REFUSAL))
    return 'agent-budget';
  if (error instanceof AnthropicError) return 'model-unavailable';
  throw error;
}
