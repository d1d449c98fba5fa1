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
  /** Names of the tools on offer. */
  tools: ReadonlySet<string>;
  /** Last result of each call, by the name that the playbook gave it. */
  results: ReadonlyMap<string, ToolResult>;
}

const CALL_ID = /^toolu_\d+_([a-z0-9-]+)$/;

/** Id of a call; holds its name, so that a later request brings the name back. */
export function callId(turn: number, name: string): string {
  return `toolu_${String(turn)}_${name}`;
}

export function conversationOf({ messages, tools }: ModelRequest): Conversation {
  const parsed = messages.map(objectOf);
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
    turn: parsed.filter(({ role }) => role === 'assistant').length,
    task: textOf(parsed[0]?.['content']),
    tools: new Set((tools ?? []).map(({ name }) => String(name))),
    results,
  };
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
