import { ApiFault } from './api-fault.js';
import type { ModelRequest } from './model-request.js';

export interface ToolResult {
  text: string;
  isError: boolean;
}

/** A conversation as the request tells it; the provider itself remembers nothing. */
export interface Conversation {
  /** Replies that were given already. */
  turn: number;
  /** Text of the first message. */
  task: string;
  /** Text of the user's later messages. */
  heard: string;
  /** Names of the tools on offer. */
  tools: ReadonlySet<string>;
  /** It is asked for words alone. */
  mayCallNothing: boolean;
  /** Last result of each call, by the name that the playbook gave it. */
  results: ReadonlyMap<string, ToolResult>;
}

const CALL_ID = /^toolu_\d+_([a-z0-9-]+)$/;
const TURN_OF_CALL = /^toolu_(\d+)_/;

/** Id of a call; holds its name, so that a later request brings the name back. */
export function callId(turn: number, name: string): string {
  return `toolu_${String(turn)}_${name}`;
}

/** @throws {ApiFault} `invalid_request_error` where a call is parted from its result, as the model itself would refuse it */
export function conversationOf({ messages, tools, tool_choice: choice }: ModelRequest): Conversation {
  const parsed = messages.map(objectOf);
  demandPairs(parsed);
  const results = new Map<string, ToolResult>();
  for (const { role, content } of parsed) {
    if (role !== 'user' || !Array.isArray(content)) continue;
    for (const block of content.map(objectOf)) {
      const name = block['type'] === 'tool_result' ? CALL_ID.exec(String(block['tool_use_id']))?.[1] : undefined;
      if (name !== undefined)
        results.set(name, { text: textOf(block['content']).trim(), isError: block['is_error'] === true });
    }
  }
  return {
    turn: turnOf(parsed),
    mayCallNothing: objectOf(choice)['type'] === 'none',
    task: textOf(parsed[0]?.['content']),
    heard: parsed
      .slice(1)
      .filter(({ role }) => role === 'user')
      .map(({ content }) => textOf(content))
      .join('\n'),
    tools: new Set((tools ?? []).map(({ name }) => String(name))),
    results,
  };
}

/** Replies may have given way to a summary: the last call says which turn it was of. */
function turnOf(messages: readonly Record<string, unknown>[]): number {
  const replies = messages.filter(({ role }) => role === 'assistant').reverse();
  for (const [later, { content }] of replies.entries()) {
    const call = blocksOf(content).find(({ type }) => type === 'tool_use');
    const turn = TURN_OF_CALL.exec(String(call?.['id']))?.[1];
    if (turn !== undefined) return Number(turn) + 1 + later;
  }
  return replies.length;
}

function demandPairs(messages: readonly Record<string, unknown>[]): void {
  let open: readonly string[] = [];
  for (const { role, content } of messages) {
    const blocks = blocksOf(content);
    const answered = blocks.filter(({ type }) => type === 'tool_result').map((block) => String(block['tool_use_id']));
    if (open.length !== answered.length || !open.every((id) => answered.includes(id)))
      throw new ApiFault('invalid_request_error', 'messages: each tool_use must be followed by its tool_result');
    const calls = blocks.filter(({ type }) => type === 'tool_use').map(({ id }) => String(id));
    open = role === 'assistant' ? calls : [];
  }
}

function blocksOf(content: unknown): Record<string, unknown>[] {
  return Array.isArray(content) ? content.map(objectOf) : [];
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((block) => objectOf(block)['text'])
    .filter((text) => typeof text === 'string')
    .join('\n');
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
