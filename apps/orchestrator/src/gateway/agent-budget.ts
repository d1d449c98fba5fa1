import { withinTime } from '../killswitch/within-time.js';
import { ApiFault } from './api-fault.js';
import type { BudgetCode, GatewayOrder, GatewayRules } from './gateway-order.js';
import type { Meter, Reservation, Tokens, UnheardCost } from './meter.js';
import type { Price } from './prices.js';
import type { Hold, HoldAnswer, SpendLedger } from './spend-ledger.js';

/** A ledger that does not answer stops the spending: what is not written down could be spent twice. */
const LEDGER_MS = 2_000;
const OWNER: Readonly<Record<BudgetCode, string>> = {
  'agent-budget': "the agent's budget",
  'task-budget': "the task's budget",
  'tenant-budget': "the tenant's budget of this day",
};

/** What a request may cost. */
export interface Asked {
  price: Price;
  /** At most in the prompt. */
  promptTokens: number;
  maxTokens: number;
  kept: 'cacheWrite' | 'cacheWriteHour';
}

/** A reservation in every budget that a request falls under. */
export interface Reserved {
  maxTokens: number;
  /** Once; resolves with millionths of a US dollar when it is on disk. */
  settle(cost: Tokens | UnheardCost): Promise<number>;
}

/** Keeps one agent within its own budget, its task's and its tenant's. */
export class AgentBudget {
  private isTold = false;

  constructor(
    private readonly order: GatewayOrder,
    private readonly meter: Meter,
    /** undefined where nothing is shared. */
    private readonly ledger: SpendLedger | undefined,
  ) {}

  /** @throws {ApiFault} `billing_error` where a budget does not allow it; `api_error` where that cannot be known */
  async reserve({ price, promptTokens, maxTokens, kept }: Asked, rules: GatewayRules): Promise<Reserved> {
    const own = this.meter.reserve(price, promptTokens, maxTokens, kept);
    if (own === undefined) throw this.refusal('agent-budget');
    try {
      const hold = await this.share(own, rules);
      if (hold !== undefined) own.shrinkTo(hold.amount);
      return { maxTokens: own.maxTokens, settle: (cost) => settle(own, hold, cost) };
    } catch (error) {
      own.cancel();
      throw error;
    }
  }

  private async share({ amount, least }: Reservation, rules: GatewayRules): Promise<Hold | undefined> {
    // What costs nothing needs no place on disk.
    if (this.ledger === undefined || amount === 0) return undefined;
    const answer = await inTime(this.ledger.hold(this.order, rules, amount, least));
    if (answer.kind === 'spent') throw this.refusal(`${answer.scope}-budget`);
    return answer.hold;
  }

  private refusal(code: BudgetCode): ApiFault {
    if (!this.isTold) this.order.onBudget(code);
    this.isTold = true;
    return new ApiFault('billing_error', `${code}: ${OWNER[code]} does not allow another request`);
  }
}

/** The cost counts at once; how long it takes to be on disk holds nobody up for long. */
async function settle(own: Reservation, hold: Hold | undefined, cost: Tokens | UnheardCost): Promise<number> {
  const costMicroUsd = own.settle(cost);
  // Where that fails the sum stays held, and counts in full after a restart.
  const written = hold?.settle(costMicroUsd).catch(() => undefined);
  if (written !== undefined) await withinTime(LEDGER_MS, written, undefined);
  return costMicroUsd;
}

async function inTime(holding: Promise<HoldAnswer>): Promise<HoldAnswer> {
  const answer = await withinTime(LEDGER_MS, holding, undefined);
  if (answer !== undefined) return answer;
  // What is held after all is given back.
  void holding.then((late) => (late.kind === 'held' ? late.hold.settle(0) : undefined)).catch(() => undefined);
  throw new ApiFault('api_error', 'the spending cannot be written down');
}
