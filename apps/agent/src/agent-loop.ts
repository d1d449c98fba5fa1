import { setTimeout as delay } from 'node:timers/promises';
import { AnthropicError, APIConnectionError, APIError } from '@anthropic-ai/sdk/error';
import type {
  ContentBlock,
  Message,
  MessageParam,
  ToolResultBlockParam,
  ToolUseBlock,
} from '@anthropic-ai/sdk/resources/messages';
import { Compaction } from './compaction.js';
import { Conversation } from './conversation.js';
import type { ModelClient } from './model-client.js';
import type { OperatorInbox } from './operator-inbox.js';
import type { EndReason, Report } from './output.js';
import { isContextExceeded, isRefusedBudget } from './model-end.js';
import { summaryPrompt, systemPrompt, taskPrompt, withSummaryOrder } from './prompt.js';
import type { Task } from './task.js';
import { failure, type Tool, type ToolOutcome } from './tools/tool.js';

const MOST_REPLY_TOKENS = 16_384;
const MOST_SUMMARY_TOKENS = 8_192;
/** Times that an agent which stops without submitting is reminded. */
const REMINDERS = 2;
const REMINDER = 'You have not submitted. If the work is done, call submit; otherwise go on.';
/** Times that a reply which broke off is asked for again, and the pause before the first of them. */
const REPEATS = 3;
const FIRST_PAUSE_MS = 500;
const CUT_OFF_STOPS: readonly string[] = ['max_tokens', 'model_context_window_exceeded'];
const CUT_OFF = 'The reply was cut off at its length limit, so that this call was not made. Take smaller steps.';

export interface LoopParts {
  client: ModelClient;
  task: Task;
  tools: readonly Tool[];
  inbox: OperatorInbox;
  report: Report;
  /** Aborted when the agent's time is over. */
  signal: AbortSignal;
}

/**
 * The conversation: the model's replies, the tools that they call, the results that go back. A loop of our own on
 * `messages.stream`, because every one of its limits must be ours: iterations, tokens, time, reminders.
 */
export class AgentLoop {
  private readonly conversation: Conversation;
  private readonly compaction: Compaction;
  private tokens = 0;
  private requests = 0;
  private reminders = 0;

  constructor(private readonly parts: LoopParts) {
    const { task, report } = parts;
    this.conversation = new Conversation(taskPrompt(task));
    const summarise = (messages: MessageParam[]): Promise<string | undefined> => this.summarise(messages);
    this.compaction = new Compaction({ conversation: this.conversation, limits: task.limits, summarise, report });
  }

  /** @throws errors of the SDK, and AbortError when the time is over */
  async run(): Promise<EndReason> {
    const { limits } = this.parts.task;
    while (this.requests < limits.iterations) {
      if (this.tokens >= limits.tokens) return 'agent-budget';
      await this.hear();
      if (!(await this.compaction.makeRoom())) return 'agent-context';
      const reply = await this.ask();
      const end = await this.take(reply);
      if (end !== undefined) return end;
    }
    return 'agent-iterations';
  }

  /** What the operator has written goes to the model with the next request. @returns whether there was something */
  private async hear(): Promise<boolean> {
    const { inbox, signal } = this.parts;
    const words = await inbox.take(signal);
    if (words.length === 0) return false;
    this.conversation.hear(words);
    this.reminders = 0;
    return true;
  }

  /** Where the model says that the conversation is too long, it is made shorter, once. */
  private async ask(): Promise<Message> {
    try {
      return await this.askOften();
    } catch (error) {
      if (!isContextExceeded(error) || !(await this.compaction.shorten())) throw error;
      return this.askOften();
    }
  }

  /** A reply that breaks off in its middle is asked for again; what fails before its beginning, the SDK repeats. */
  private async askOften(): Promise<Message> {
    this.requests += 1;
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
    const { client, signal } = this.parts;
    const request = { ...this.frame(MOST_REPLY_TOKENS), messages: this.conversation.messages };
    const reply = await client.messages.stream(request, { signal }).finalMessage();
    this.tokens += tokensOf(reply);
    return reply;
  }

  /** @throws errors of the SDK that end the agent. @returns undefined where there is no whole summary */
  private async summarise(messages: MessageParam[]): Promise<string | undefined> {
    const { client, signal } = this.parts;
    this.requests += 1;
    try {
      const frame = { ...this.frame(MOST_SUMMARY_TOKENS), tool_choice: { type: 'none' as const } };
      const request = { ...frame, messages: withSummaryOrder(messages) };
      const reply = await client.messages.stream(request, { signal }).finalMessage();
      this.tokens += tokensOf(reply);
      const text = textsOf(reply.content).join('\n').trim();
      return reply.stop_reason === 'end_turn' && text !== '' ? summaryPrompt(text) : undefined;
    } catch (error) {
      if (signal.aborted || !(error instanceof AnthropicError) || isRefusedBudget(error)) throw error;
      this.parts.report({ type: 'log', source: 'agent', text: error.message });
      return undefined;
    }
  }

  /** What every request of this agent has in common: what was sent before is read from the cache. */
  private frame(maxTokens: number) {
    const { task, tools } = this.parts;
    return {
      model: task.model,
      max_tokens: maxTokens,
      system: systemPrompt(task),
      tools: tools.map(({ definition }) => definition),
      cache_control: { type: 'ephemeral' as const },
    };
  }

  /** @returns why the agent ends, if it does. */
  private async take(reply: Message): Promise<EndReason | undefined> {
    const { report } = this.parts;
    const { content, stop_reason: stopReason } = reply;
    for (const text of textsOf(content)) report({ type: 'log', source: 'model', text });
    this.conversation.addReply(content, tokensOf(reply));
    const calls = content.filter((block): block is ToolUseBlock => block.type === 'tool_use');
    if (calls.length > 0) return this.answer(calls, CUT_OFF_STOPS.includes(stopReason ?? ''));
    if (await this.hear()) return undefined;
    if (this.reminders >= REMINDERS) return 'agent-no-submit';
    this.reminders += 1;
    this.conversation.tell({ type: 'text', text: REMINDER });
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
    this.conversation.tell(...results);
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

/** What the conversation holds with this reply, as the model has counted it. */
function tokensOf({ usage }: Message): number {
  const { cache_creation_input_tokens: written, cache_read_input_tokens: read } = usage;
  return usage.input_tokens + usage.output_tokens + (written ?? 0) + (read ?? 0);
}

function textsOf(content: ContentBlock[]): string[] {
  return content.flatMap((block) => (block.type === 'text' && block.text.trim() !== '' ? [block.text] : []));
}
