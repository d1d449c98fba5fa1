import { Injectable } from '@nestjs/common';
import { faultSentence, isFaultCode, type KillOutcomeName, killOutcomeName, newId, WireFault } from '@capstan/protocol';
import { type Answer, Answers } from '../commands/answers.js';
import { CommandDesk } from '../commands/command-desk.js';
import type { Order } from '../commands/command-factory.js';
import type { CommandRecord, Refusal } from '../commands/command-record.js';
import { Leases } from '../leases/leases.js';
import { type ReceiptView, receiptView } from '../receipts/receipt-view.js';
import type { TakenReceipt } from '../receipts/taken-receipt.js';
import { AgentDirectory } from './agent.directory.js';
import { reported } from './agent-report.js';
import type { ReportedAgentView } from './agent.store.js';
import type { KillAgentDto } from './agent.dto.js';
import type { SpawnAgentDto } from './spawn.dto.js';
import { spawnOrder } from './spawn-order.js';

const STATUS_WAIT_MS = 10_000;
const KILL_WAIT_MS = 10_000;
/** A kill is retried that long; no receiver looks at its expiry. */
const KILL_LIFETIME_MS = 24 * 60 * 60 * 1000;

export interface KillAnswer {
  commandId: string;
  outcome: KillOutcomeName;
  /** Whether the reaper's signed observation says so. */
  confirmed: boolean;
  /** What the instance says to an order that stands all the same. */
  refusal?: Refusal;
  receipt?: ReceiptView;
  /** Unless confirmed: by when the agent is dead if its instance is renewed no more; null where there is no such time. */
  leaseEndsAt?: string | null;
}

export interface StatusAnswer {
  agent: ReportedAgentView;
  receipt: ReceiptView;
}

/** Orders about agents, and their answers. */
@Injectable()
export class AgentOrders {
  constructor(
    private readonly desk: CommandDesk,
    private readonly directory: AgentDirectory,
    private readonly answers: Answers,
    private readonly leases: Leases,
  ) {}

  /** @throws WireFault `instance-unknown`, `connection-not-active`, `disarmed`, `agent-exists`; RequestFault */
  async spawn(body: SpawnAgentDto, by: string): Promise<CommandRecord> {
    const order = spawnOrder(body, by);
    if (this.directory.peek(order.agentId) !== undefined) throw new WireFault('agent-exists', order.agentId);
    const record = await this.desk.issue(order);
    this.directory.keep(record.agentId, record.instance);
    return record;
  }

  /** Asks the agent's instance now. @throws WireFault `instance-away` where it does not answer, or why it refused */
  async status(agentId: string, by: string): Promise<StatusAnswer> {
    const instance = await this.instanceOf(agentId);
    const order = orderOf(instance, agentId, { case: 'status', value: { agentId } }, STATUS_WAIT_MS, by);
    using listener = this.answers.listen(order.id);
    await this.desk.issue(order);
    const answer = await listener.next(STATUS_WAIT_MS);
    const refusal = refusalOf(answer);
    if (refusal !== undefined) throw refusal;
    if (answer?.receipt === undefined) throw new WireFault('instance-away', instance);
    return statusAnswer(answer.receipt, instance, this.leases.leaseEndsAt(agentId));
  }

  /** Works while the database is away, for every agent that is not over. @throws WireFault `agent-unknown`, `instance-unknown`, … */
  async kill(
    agentId: string,
    { reason, instance: named, waitMs = KILL_WAIT_MS }: KillAgentDto,
    by: string,
  ): Promise<KillAnswer> {
    const instance = await this.killTarget(agentId, named);
    const body = { case: 'kill', value: { agentId, reason: reason ?? '' } } as const;
    const order = orderOf(instance, agentId, body, KILL_LIFETIME_MS, by);
    using listener = this.answers.listen(order.id);
    const recorded = this.desk.kill(order);
    const answer = (await listener.next(waitMs, isFinal)) ?? (await listener.next(0));
    await recorded;
    const refusal = answer?.record.settledAt === null ? undefined : refusalOf(answer);
    if (refusal !== undefined) throw refusal;
    const outcome = outcomeOf(answer);
    const receipt = answer?.receipt === undefined ? {} : { receipt: receiptView(answer.receipt) };
    const commandId = answer?.record.id ?? order.id;
    if (outcome !== 'unconfirmed') return { commandId, outcome, confirmed: true, ...receipt };
    const said = answer?.record.refusal;
    const refused = said === undefined || said === null ? {} : { refusal: said };
    const leaseEndsAt = this.leases.leaseEndsAt(agentId)?.toISOString() ?? null;
    return { commandId, outcome, confirmed: false, ...refused, ...receipt, leaseEndsAt };
  }

  /** @throws WireFault `agent-unknown` */
  async instanceOf(agentId: string): Promise<string> {
    const instance = await this.directory.instanceOf(agentId);
    if (instance === undefined) throw new WireFault('agent-unknown', agentId);
    return instance;
  }

  private async killTarget(agentId: string, named: string | undefined): Promise<string> {
    const known = this.directory.peek(agentId);
    // An order for the wrong instance would leave a tombstone there and say so, while the agent lives on elsewhere.
    if (known !== undefined && named !== undefined && named !== known)
      throw new WireFault('agent-unknown', `it is on ${known}`);
    return known ?? named ?? (await this.instanceOf(agentId));
  }
}

function orderOf(instance: string, agentId: string, body: Order['body'], lifetimeMs: number, by: string): Order {
  return { id: newId(), instance, agentId, body, lifetimeMs, tenant: 'default', onBehalfOf: by };
}

function statusAnswer(taken: TakenReceipt, instance: string, leaseEnd: Date | null): StatusAnswer {
  const { result, header } = taken.receipt;
  if (result.case !== 'status') throw new WireFault('receipt-mismatch', 'no status');
  const { report } = reported(result.value, instance, header?.issuedAtMs ?? 0n, taken.receivedAt.getTime());
  const leaseEndsAt = leaseEnd?.toISOString() ?? null;
  return { agent: { ...report.snapshot, instance, asOf: report.as_of, leaseEndsAt }, receipt: receiptView(taken) };
}

/** Whether waiting longer can bring nothing better; an unconfirmed kill is tried again by the instance. */
function isFinal(answer: Answer): boolean {
  return answer.record.settledAt !== null || outcomeOf(answer) !== 'unconfirmed';
}

function outcomeOf(answer: Answer | undefined): KillOutcomeName {
  const result = answer?.receipt?.receipt.result;
  return result?.case === 'killed' ? killOutcomeName(result.value.outcome) : 'unconfirmed';
}

/** What the instance, or time, has refused. A code of a later version is told as what it is to us: internal. */
function refusalOf(answer: Answer | undefined): WireFault | undefined {
  const code = answer?.record.refusal?.code;
  if (code === undefined) return undefined;
  if (code === 'expired') return new WireFault('instance-away', answer?.record.instance);
  return isFaultCode(code) ? new WireFault(code) : new WireFault('internal', faultSentence(code));
}
