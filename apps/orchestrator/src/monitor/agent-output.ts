import { stripControl } from '@capstan/protocol';

/** Who said a line of the log; `system` is the orchestrator itself and cannot be claimed by an agent. */
export type LogSource = 'agent' | 'tool' | 'model' | 'system';

/** One line that an agent wrote to its standard output. */
export type AgentOutput =
  | { type: 'log'; source: LogSource; text: string }
  /** The agent declares its work done. */
  | { type: 'submit'; summary: string }
  /** The older part of its conversation gave way to a summary. */
  | { type: 'compacted'; replies: number; tokens: number }
  /** The agent says why it ends, as a code. */
  | { type: 'end'; reason: string };

const LONGEST_SUMMARY = 4000;
const LONGEST_REASON = 63;
const SOURCES: readonly string[] = ['agent', 'tool', 'model'];

/** Reads one line of an untrusted agent. What is not of the agreed shape is its log. Control characters are stripped. */
export function parseOutput(line: string): AgentOutput {
  const fields = objectOf(line);
  const { type } = fields;
  if (type === 'submit') {
    return { type, summary: textOf(fields['summary']).slice(0, LONGEST_SUMMARY) };
  }
  if (type === 'compacted' && isCount(fields['replies']) && isCount(fields['tokens'])) {
    return { type, replies: fields['replies'], tokens: fields['tokens'] };
  }
  if (type === 'end') {
    return { type, reason: textOf(fields['reason']).slice(0, LONGEST_REASON) };
  }
  if (type === 'log' && typeof fields['text'] === 'string') {
    const source = SOURCES.includes(String(fields['source'])) ? (fields['source'] as LogSource) : 'agent';
    return { type, source, text: stripControl(fields['text']) };
  }
  return { type: 'log', source: 'agent', text: stripControl(line) };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function objectOf(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? stripControl(value).trim() : '';
}
