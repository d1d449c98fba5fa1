import type { UsageView } from '@capstan/protocol';
import type { Price } from './prices.js';

/** Figures of one agent since its start. */
export type Usage = UsageView;

/** Tokens of one request as the model reports them. */
export interface Tokens {
  input: number;
  output: number;
  cacheRead: number;
  /** Written for five minutes. */
  cacheWrite: number;
  /** Written for an hour. */
  cacheWriteHour: number;
}

/** What counts of a reservation where no reply has said what it cost. */
export type UnheardCost = 'nothing' | 'prompt' | 'everything';

/** What one request may cost at most, while it runs. */
export interface Reservation {
  /** Tokens that the reply may have. */
  readonly maxTokens: number;
  /** Millionths of a US dollar, rounded up. */
  readonly amount: number;
  /** The least for which the request is worth making. */
  readonly least: number;
  /** Makes do with less, not below `least`: the reply is cut accordingly. */
  shrinkTo(amount: number): void;
  /**
   * Replaces the reservation by what it really cost, or by a part of itself; once.
   *
   * @returns millionths of a US dollar, rounded up.
   */
  settle(cost: Tokens | UnheardCost): number;
  /** As if it had never been. */
  cancel(): void;
}

/** A reservation as the meter keeps it; millionths of a US dollar, not rounded. */
interface Held {
  price: Price;
  rates: Price;
  prompt: number;
  maxTokens: number;
  amount: number;
  least: number;
}

const UNUSED: Usage = {
  requests: 0,
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  costMicroUsd: 0,
};

/** A reply shorter than this is not worth its prompt. */
const SHORTEST_REPLY = 256;
/** Sums of fractions are off by less than this; it must not become a whole millionth. */
const ROUNDING = 1e-6;

/** Adds up the usage of one agent, and keeps it within its budget. */
export class Meter {
  private readonly total: Omit<Usage, 'costMicroUsd'>;
  private spent: number;
  private reserved = 0;

  /** @param budgetMicroUsd millionths of a US dollar. @param before what the agent had used before; counts as spent */
  constructor(
    private readonly budgetMicroUsd: number,
    before: Usage = UNUSED,
  ) {
    const { costMicroUsd, ...total } = before;
    this.total = total;
    this.spent = costMicroUsd;
  }

  usage(): Usage {
    // Up, so that what was spent is never shown as less than it was.
    return { ...this.total, costMicroUsd: Math.max(0, Math.ceil(this.spent - ROUNDING)) };
  }

  /**
   * Sets aside what a request may cost, its reply cut to what is left. Requests that run at the same time share the
   * budget, so that together they cannot pass it.
   *
   * @param promptTokens at most; they count where nobody hears how many there were.
   * @param kept how long the prompt may be kept in the cache, and so at what price it is written.
   * @returns undefined where the budget does not allow it.
   */
  reserve(
    price: Price,
    promptTokens: number,
    maxTokens: number,
    kept: 'cacheWrite' | 'cacheWriteHour' = 'cacheWrite',
  ): Reservation | undefined {
    const rates = ratesOf(price, promptTokens);
    // As if all of it were written to the cache, which is what the agent's own loop asks for.
    const prompt = promptTokens * rates[kept];
    const left = this.budgetMicroUsd - this.spent - this.reserved - prompt;
    const affordable = rates.output === 0 ? maxTokens : Math.min(maxTokens, Math.floor(left / rates.output));
    const isWorthIt = affordable >= Math.min(maxTokens, SHORTEST_REPLY);
    if (!isWorthIt || (rates.output > 0 && left <= 0)) return undefined;
    const amount = prompt + affordable * rates.output;
    this.reserved += amount;
    this.total.requests += 1;
    const least = prompt + Math.min(maxTokens, SHORTEST_REPLY) * rates.output;
    return this.reservation({ price, rates, prompt, maxTokens: affordable, amount, least });
  }

  private reservation(held: Held): Reservation {
    const { price, rates, prompt } = held;
    let isOpen = true;
    const end = (): boolean => {
      const wasOpen = isOpen;
      if (wasOpen) this.reserved -= held.amount;
      isOpen = false;
      return wasOpen;
    };
    return {
      get maxTokens() {
        return held.maxTokens;
      },
      get amount() {
        return Math.ceil(held.amount - ROUNDING);
      },
      least: Math.ceil(held.least - ROUNDING),
      shrinkTo: (amount) => {
        if (amount >= held.amount) return;
        this.reserved -= held.amount - amount;
        held.amount = amount;
        held.maxTokens = Math.min(held.maxTokens, Math.floor((amount - prompt) / rates.output));
      },
      settle: (cost) => {
        if (!end()) return 0;
        const spentBefore = this.spent;
        if (cost === 'prompt') this.spent += prompt;
        else if (cost === 'everything') this.spent += held.amount;
        else if (cost !== 'nothing') this.add(price, cost);
        return Math.max(0, Math.ceil(this.spent - spentBefore - ROUNDING));
      },
      cancel: () => {
        if (end()) this.total.requests -= 1;
      },
    };
  }

  private add(price: Price, tokens: Tokens): void {
    this.total.inputTokens += tokens.input;
    this.total.outputTokens += tokens.output;
    this.total.cacheReadTokens += tokens.cacheRead;
    this.total.cacheWriteTokens += tokens.cacheWrite + tokens.cacheWriteHour;
    this.spent += costOf(price, tokens);
  }
}

/** Millionths of a US dollar. */
export function costOf(price: Price, tokens: Tokens): number {
  const { input, output, cacheRead, cacheWrite, cacheWriteHour } = tokens;
  const rates = ratesOf(price, input + cacheRead + cacheWrite + cacheWriteHour);
  return (
    input * rates.input +
    output * rates.output +
    cacheRead * rates.cacheRead +
    cacheWrite * rates.cacheWrite +
    cacheWriteHour * rates.cacheWriteHour
  );
}

function ratesOf(price: Price, promptTokens: number): Price {
  return price.longPrompt !== undefined && promptTokens > price.longPrompt.above ? price.longPrompt : price;
}
