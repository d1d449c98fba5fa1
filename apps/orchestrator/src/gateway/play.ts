import { ApiFault } from './api-fault.js';
import { callId, type Conversation } from './conversation.js';
import type { Playbook, PlaybookCondition, PlaybookTurn } from './playbook.js';

export type ContentBlock =
  { type: 'text'; text: string } | { type: 'tool_use'; id: string; name: string; input: Record<string, unknown> };

const PLACE = /\{\{\s*([a-z][a-z0-9-]*)\s*\}\}/g;

/**
 * The next reply of a playbook to a conversation.
 *
 * @throws {ApiFault} `invalid_request_error` where the conversation has left the playbook: no alternative fits, a tool
 *   is not on offer, a value is missing
 */
export function play(playbook: Playbook, conversation: Conversation): ContentBlock[] {
  const { turn, tools } = conversation;
  if (conversation.mayCallNothing) return [{ type: 'text', text: playbook.summary }];
  const lost = (why: string): ApiFault =>
    new ApiFault('invalid_request_error', `playbook ${playbook.name}, turn ${String(turn + 1)}: ${why}`);
  const alternatives = playbook.turns[turn] ?? [playbook.otherwise];
  const chosen = alternatives.find(({ when }) => when === undefined || holds(when, conversation));
  if (chosen === undefined) throw lost(`no answer to this: ${failuresOf(conversation)}`);
  const missing = chosen.calls.find(({ tool }) => !tools.has(tool));
  if (missing !== undefined) throw lost(`the tool ${missing.tool} is not on offer`);
  const fill = (text: string): string =>
    text.replace(PLACE, (_, name: string) => {
      const result = conversation.results.get(name);
      // What failed is no value, but for a turn that has asked for the failure.
      if (result === undefined || (result.isError && chosen.when?.failed.includes(name) !== true))
        throw lost(`there is no value for ${name}`);
      return result.text;
    });
  return blocksOf(chosen, turn, fill);
}

function blocksOf({ say, calls }: PlaybookTurn, turn: number, fill: (text: string) => string): ContentBlock[] {
  const blocks: ContentBlock[] = say === undefined ? [] : [{ type: 'text', text: fill(say) }];
  for (const { as, tool, input } of calls) {
    blocks.push({
      type: 'tool_use',
      id: callId(turn, as),
      name: tool,
      input: fillIn(input, fill) as Record<string, unknown>,
    });
  }
  return blocks;
}

function fillIn(value: unknown, fill: (text: string) => string): unknown {
  if (typeof value === 'string') return fill(value);
  if (Array.isArray(value)) return value.map((each) => fillIn(each, fill));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, fillIn(each, fill)]));
}

function holds({ task, heard, ok, failed, result }: PlaybookCondition, conversation: Conversation): boolean {
  const { results } = conversation;
  if (task !== undefined && !task.test(conversation.task)) return false;
  if (heard !== undefined && !heard.test(conversation.heard)) return false;
  if (!ok.every((name) => results.get(name)?.isError === false)) return false;
  if (!failed.every((name) => results.get(name)?.isError === true)) return false;
  return Object.entries(result).every(([name, pattern]) => pattern.test(results.get(name)?.text ?? ''));
}

function failuresOf({ results }: Conversation): string {
  const failures = [...results].filter(([, { isError }]) => isError);
  return failures.map(([name, { text }]) => `${name} failed: ${text.slice(0, 200)}`).join('; ') || 'no call failed';
}
