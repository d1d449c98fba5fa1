import { lacksStatement, provesKillAll } from '@capstan/evidence';
import { type FaultCode, type KillOutcomeName, killOutcomeName, stripControl } from '@capstan/protocol';
import type { Answer } from '../commands/answers.js';
import { type ReceiptView, receiptView } from '../receipts/receipt-view.js';

/** Why nobody can say that an instance's agents are dead. */
export type UnconfirmedReason = 'away' | 'unanswered' | 'unconfirmed' | 'refused';

export interface KilledAgentView {
  agentId: string;
  outcome: KillOutcomeName;
}

/** What became of a kill-all at one instance. */
export type KillAllLine =
  | {
      instance: string;
      commandId: string;
      confirmed: true;
      /** Decimal. */
      epoch: string;
      /** Every agent of the scope that the reaper knew to live, each with its observed death in the receipt. */
      agents: KilledAgentView[];
      receipt: ReceiptView;
      ms: number;
    }
  | {
      instance: string;
      /** Null where no order could be given. */
      commandId: string | null;
      confirmed: false;
      reason: UnconfirmedReason;
      /** Why it was refused, or what its answer lacks. */
      code?: string;
      /** What is known of them so far. */
      agents: KilledAgentView[];
      receipt?: ReceiptView;
      /** By when no agent of the scope lives even if nothing more is heard; null where there is no such time. */
      leasesEndAt: string | null;
      ms: number;
    };

/** The last word: over all instances that were told. */
export interface KillAllTotals {
  instances: number;
  confirmed: number;
  unconfirmed: number;
  agents: Record<KillOutcomeName, number>;
}

/** Whether waiting longer can bring nothing better. */
export function isSettled(answer: Answer): boolean {
  return answer.record.settledAt !== null || isConfirmed(answer);
}

/** Whether the reaper has refused the number that the order names. */
export function isMiscounted({ receipt }: Answer): boolean {
  const result = receipt?.receipt.result;
  return result?.case === 'refused' && result.value.code === 'kill-epoch';
}

/** Whether the reaper has signed which agents there were, and the death of each. */
export function isConfirmed({ receipt }: Answer): boolean {
  return receipt !== undefined && provesKillAll(receipt.receipt);
}

export function agentsOf(receipt: Answer['receipt']): KilledAgentView[] {
  const result = receipt?.receipt.result;
  if (result?.case !== 'killedAll') return [];
  return result.value.agents.map(({ agentId, result: one }) => ({
    agentId: stripControl(agentId),
    outcome: one === undefined ? 'unconfirmed' : killOutcomeName(one.outcome),
  }));
}

/** One line for an answer, or for its absence. */
export function lineOf(o: {
  instance: string;
  commandId: string;
  answer: Answer | undefined;
  isAway: boolean;
  leasesEndAt: Date | null;
  ms: number;
}): KillAllLine {
  const { instance, commandId, answer, ms } = o;
  const result = answer?.receipt?.receipt.result;
  const agents = agentsOf(answer?.receipt);
  if (answer?.receipt !== undefined && result?.case === 'killedAll' && isConfirmed(answer)) {
    const epoch = result.value.epoch.toString();
    return { instance, commandId, confirmed: true, epoch, agents, receipt: receiptView(answer.receipt), ms };
  }
  const code = answer?.record.refusal?.code ?? missingOf(answer);
  return {
    instance,
    commandId,
    confirmed: false,
    reason: reasonOf(answer, o.isAway),
    ...(code === undefined ? {} : { code }),
    agents,
    ...(answer?.receipt === undefined ? {} : { receipt: receiptView(answer.receipt) }),
    leasesEndAt: o.leasesEndAt?.toISOString() ?? null,
    ms,
  };
}

function missingOf(answer: Answer | undefined): FaultCode | undefined {
  return answer?.receipt !== undefined && lacksStatement(answer.receipt.receipt) ? 'statement-missing' : undefined;
}

function reasonOf(answer: Answer | undefined, isAway: boolean): UnconfirmedReason {
  if (answer !== undefined) return answer.record.refusal === null ? 'unconfirmed' : 'refused';
  return isAway ? 'away' : 'unanswered';
}

export function totalsOf(lines: readonly KillAllLine[]): KillAllTotals {
  const agents = { killed: 0, 'already-gone': 0, tombstoned: 0, unconfirmed: 0 };
  for (const { outcome } of lines.flatMap((line) => line.agents)) agents[outcome] += 1;
  const confirmed = lines.filter((line) => line.confirmed).length;
  return { instances: lines.length, confirmed, unconfirmed: lines.length - confirmed, agents };
}
