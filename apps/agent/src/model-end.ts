import { APIError } from '@anthropic-ai/sdk/error';

/** What the gateway says, with 402, where the budget does not allow another request; an unpaid account says something else. */
const BUDGET_REFUSAL = 'agent-budget:';
/** What the model says, with 400, of a conversation that it cannot hold: alone, or with the reply that it may give. */
const TOO_LONG: readonly string[] = ['prompt is too long', 'exceed context limit'];

/** Whether the budget allows no further request. */
export function isRefusedBudget(error: unknown): boolean {
  return error instanceof APIError && error.status === 402 && error.message.includes(BUDGET_REFUSAL);
}

/** Whether the conversation has outgrown the model's context. */
export function isContextExceeded(error: unknown): boolean {
  return error instanceof APIError && error.status === 400 && TOO_LONG.some((words) => error.message.includes(words));
}
