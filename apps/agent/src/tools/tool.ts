import type { Tool as ToolDefinition } from '@anthropic-ai/sdk/resources/messages';

export interface ToolOutcome {
  text: string;
  isError: boolean;
  /** Only of `submit`: the work is done. */
  summary?: string;
}

/** Something that the model can call. */
export interface Tool {
  definition: ToolDefinition;
  /** One line for the log. */
  describe(input: unknown): string;
  /** Never rejects for what the model got wrong: it is told, and tries again. */
  run(input: unknown, signal: AbortSignal): Promise<ToolOutcome>;
}

export function failure(text: string): ToolOutcome {
  return { text, isError: true };
}

/** A field of a tool's input. */
export function fieldOf(input: unknown, name: string): unknown {
  return typeof input === 'object' && input !== null ? (input as Record<string, unknown>)[name] : undefined;
}
