/** US dollars per million tokens, which is millionths of a dollar per token. */
export interface Price {
  input: number;
  output: number;
  cacheRead: number;
  /** Written to the cache for five minutes. */
  cacheWrite: number;
  /** Written to the cache for an hour. */
  cacheWriteHour: number;
  /** Holds instead where the whole prompt, cached parts included, has more tokens than `above`. */
  longPrompt?: { above: number } & Omit<Price, 'longPrompt'>;
}

/** Writing to the cache costs 1.25 and 2 times the input; reading it a share that differs by model. */
function price(input: number, output: number, readShare = 0.1): Price {
  return { input, output, cacheRead: input * readShare, cacheWrite: input * 1.25, cacheWriteHour: input * 2 };
}

const FABLE = price(10, 50);
const OPUS = price(5, 25);
const SONNET_4 = price(3, 15);

/**
 * List prices by exact id (https://platform.claude.com/docs/en/about-claude/pricing, November 2026). What is not here
 * is refused: an agent whose spending cannot be metered cannot be held to a budget.
 */
const PRICES: Readonly<Record<string, Price>> = {
  'claude-fable-5-1': price(10, 50, 0.025),
  'claude-fable-5': FABLE,
  'claude-opus-5-5': price(4, 20, 0.05),
  'claude-opus-5': OPUS,
  'claude-opus-4-8': OPUS,
  'claude-opus-4-7': OPUS,
  'claude-opus-4-6': OPUS,
  'claude-opus-4-5': OPUS,
  'claude-opus-4-5-20251101': OPUS,
  'claude-sonnet-5-5': price(2, 10, 0.05),
  'claude-sonnet-5': price(2, 10),
  'claude-sonnet-4-6': SONNET_4,
  'claude-sonnet-4-5': SONNET_4,
  'claude-sonnet-4-5-20250929': SONNET_4,
  'claude-haiku-5-5': { ...price(0.1, 0.5), longPrompt: { above: 100_000, ...price(0.5, 2.5) } },
  'claude-haiku-4-5': price(1, 5),
  'claude-haiku-4-5-20251001': price(1, 5),
};

/** What nothing costs. */
export const FREE: Price = price(0, 0);

/** undefined for a model that is not known by this very id. */
export function priceOf(model: string): Price | undefined {
  return Object.hasOwn(PRICES, model) ? PRICES[model] : undefined;
}

const MODEL_ID = /^[a-z0-9][a-z0-9.-]{0,79}$/;

/**
 * The price that the owner has set as a ceiling for models that have none: a read of the cache counts as an input, so that
 * nothing costs more than it is counted for.
 *
 * @param ceiling US dollars per million tokens. @returns undefined where the owner has set none, or for no id of a model
 */
export function ceilingOf(model: string, ceiling: { input: number; output: number } | undefined): Price | undefined {
  return ceiling === undefined || !MODEL_ID.test(model) ? undefined : price(ceiling.input, ceiling.output, 1);
}
