import { setTimeout as delay } from 'node:timers/promises';
import { AnthropicError, APIConnectionError, APIError, type Anthropic } from '@anthropic-ai/sdk';
import type {
  ContentBlock,
  Message,
  MessageParam,
  ToolResultBlockParam,
  ToolUseBlock,
} from '@anthropic-ai/sdk/resources/messages';
import type { EndReason, Report } from './output.js';
import { systemPrompt, taskPrompt } from './prompt.js';
import type { Task } from './task.js';
import { failure, type Tool, type ToolOutcome } from './tools/tool.js';

const MOST_REPLY_TOKENS = 16_384;
/** Times that an agent which stops without submitting is reminded. */
const REMINDERS = 2;
const REMINDER = 'You have not submitted. If the work is done, call submit; otherwise go on.';
/** Times that a reply which broke off is asked for again, and the pause before the first of them. */
const REPEATS = 3;
const FIRST_PAUSE_MS = 500;
const CUT_OFF = 'The reply was cut off at its length limit, so that this call was not made. Take smaller steps.';

export interface LoopParts {
  client: Anthropic;
  task: Task;
  tools: readonly Tool[];
  report: Report;
  /** Aborted when the agent's time is over. */
  signal: AbortSignal;
}

/**
 * The conversation: the model's replies, the tools that they call, the results that go back. A loop of our own on
 * `messages.stream`, because every one of its limits must be ours: iterations, tokens, time, reminders.
 */
export class AgentLoop {
  private readonly messages: MessageParam[];
  private tokens = 0;
  private reminders = 0;

  constructor(private readonly parts: LoopParts) {
    this.messages = [{ role: 'user', content: taskPrompt(parts.task) }];
  }

  /** @throws errors of the SDK, and AbortError when the time is over */
  async run(): Promise<EndReason> {
    const { limits } = this.parts.task;
    for (let iteration = 0; iteration < limits.iterations; iteration += 1) {
      if (this.tokens >= limits.tokens) return 'agent-budget';
      const reply = await this.ask();
      const end = await this.take(reply);
      if (end !== undefined) return end;
    }
    return 'agent-iterations';
  }

  /** A reply that breaks off in its middle is asked for again; what fails before its beginning, the SDK repeats. */
  private async ask(): Promise<Message> {
    const { report, signal } = this.parts;
    for (let repeat = 0; ; repeat += 1) {
      try {
        return await this.askOnce();
      } catch (error) {
        if (signal.aborted || repeat >= REPEATS || !isBrokenOff(error)) throw error;
        report({ type: 'log', source: 'agent', text: `The reply broke off and is asked for again: ${error.message}` });
        await delay(FIRST_PAUSE_MS * 2 ** repeat, undefined, { signal });
      }
    }
  }

  private async askOnce(): Promise<Message> {
    const { client, task, tools, signal } = this.parts;
    const stream = client.messages.stream(
      {
        model: task.model,
        max_tokens: MOST_REPLY_TOKENS,
        system: systemPrompt(task),
        messages: this.messages,
        tools: tools.map(({ definition }) => definition),
        // Each request repeats the whole conversation; what was sent before is read from the cache.
        cache_control: { type: 'ephemeral' },
      },
      { signal },
    );
    const reply = await stream.finalMessage();
    const { input_tokens: input, output_tokens: output } = reply.usage;
    this.tokens +=
      input + output + (reply.usage.cache_creation_input_tokens ?? 0) + (reply.usage.cache_read_input_tokens ?? 0);
    return reply;
  }

  /** @returns why the agent ends, if it does. */
  private async take({ content, stop_reason: stopReason }: Message): Promise<EndReason | undefined> {
    const { report } = this.parts;
    for (const text of textsOf(content)) report({ type: 'log', source: 'model', text });
    // Unchanged: the model checks that its own blocks come back as it sent them.
    if (content.length > 0) this.messages.push({ role: 'assistant', content });
    const calls = content.filter((block): block is ToolUseBlock => block.type === 'tool_use');
    if (calls.length > 0) return this.answer(calls, stopReason === 'max_tokens');
    if (this.reminders >= REMINDERS) return 'agent-no-submit';
    this.reminders += 1;
    this.messages.push({ role: 'user', content: REMINDER });
    return undefined;
  }

  private async answer(calls: ToolUseBlock[], isCutOff: boolean): Promise<EndReason | undefined> {
    const results: ToolResultBlockParam[] = [];
    let isSubmitted = false;
    for (const call of calls) {
      // The last call of a reply that was cut off may lack half of its input.
      const outcome = isCutOff ? failure(CUT_OFF) : await this.runTool(call);
      if (outcome.summary !== undefined) {
        this.parts.report({ type: 'submit', summary: outcome.summary });
        isSubmitted = true;
      }
      results.push({
        type: 'tool_result',
        tool_use_id: call.id,
        content: outcome.text || '(no output)',
        is_error: outcome.isError,
      });
    }
    if (isSubmitted) return 'submitted';
    this.messages.push({ role: 'user', content: results });
    return undefined;
  }

  private async runTool(call: ToolUseBlock): Promise<ToolOutcome> {
    const { tools, report, signal } = this.parts;
    const tool = tools.find(({ definition }) => definition.name === call.name);
    if (tool === undefined) return failure(`there is no tool ${call.name}`);
    report({ type: 'log', source: 'tool', text: tool.describe(call.input) });
    const outcome = await tool.run(call.input, signal);
    signal.throwIfAborted();
    if (outcome.text !== '') report({ type: 'log', source: 'tool', text: outcome.text });
    return outcome;
  }
}

/** Neither a refusal, which has a status, nor a connection that could not be made. */
function isBrokenOff(error: unknown): error is AnthropicError {
  if (!(error instanceof AnthropicError) || error instanceof APIConnectionError) return false;
  return !(error instanceof APIError) || error.status === undefined;
}

function textsOf(content: ContentBlock[]): string[] {
  return content.flatMap((block) => (block.type === 'text' && block.text.trim() !== '' ? [block.text] : []));
}
