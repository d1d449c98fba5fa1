import { Body, Controller, Get, HttpCode, HttpStatus, Param, Post, Query, Res } from '@nestjs/common';
import type { RoutedBody } from '@capstan/identity';
import { hubLostOf } from '@capstan/platform';
import {
  agentId,
  AgentStatusSchema,
  type AgentView,
  agentView,
  create,
  encodeEnvelope,
  isFaultCode,
  KillAgentSchema,
  type KillOutcomeName,
  killOutcomeName,
  spawnBody,
  toBase64,
  WireFault,
} from '@capstan/protocol';
import { PeerKillDto, PeerSpawnDto, TargetQuery } from './peer-agents.dto.js';
import type { PeerAnswer, PeerOrder } from './peer-order.js';
import { PeerOrders } from './peer-orders.js';

const WAIT_MS = 10_000;
const SPAWN_LIFETIME_MS = 300_000;
/** A kill is repeated that long; no receiver looks at its expiry. */
const KILL_LIFETIME_MS = 24 * 60 * 60 * 1000;

/** A receipt of another instance, verified by this one, with what it answers: enough to verify it again offline. */
export interface PeerReceiptView {
  kind: string;
  verified: true;
  /** Base64. */
  envelope: string;
  /** Base64. */
  command: string;
}

/** What the owner orders of other instances: signed as this instance, routed by the hub. */
@Controller('federation/agents')
export class PeerAgentsController {
  constructor(private readonly orders: PeerOrders) {}

  /** 202 with the target's receipt; without one where the target has not answered yet and the order stands. */
  @Post('spawn')
  @HttpCode(202)
  async spawn(
    @Body() body: PeerSpawnDto,
  ): Promise<{ agentId: string; target: string; agent: AgentView | null; receipt: PeerReceiptView | null }> {
    const {
      target,
      tenant = 'default',
      expiresInMs = SPAWN_LIFETIME_MS,
      waitMs = WAIT_MS,
      onHubLost,
      ...request
    } = body;
    const spawn = spawnBody({ ...request, ...hubLostOf(onHubLost) });
    const order = await this.orders.issue({ target, tenant, lifetimeMs: expiresInMs, body: spawn });
    const answer = await this.answer(order, waitMs, () => true);
    const result = answer?.receipt.receipt.result;
    return {
      agentId: spawn.value.agentId,
      target,
      agent: result?.case === 'spawned' ? agentView(result.value) : null,
      receipt: answer === undefined ? null : receiptView(order, answer),
    };
  }

  /** Asks the target now. */
  @Get(':id/status')
  async status(
    @Param('id') id: string,
    @Query() { target, tenant = 'default', waitMs = WAIT_MS }: TargetQuery,
  ): Promise<{ agent: AgentView; receipt: PeerReceiptView }> {
    const body: RoutedBody = { case: 'status', value: create(AgentStatusSchema, { agentId: agentId(id) }) };
    const order = await this.orders.issue({ target, tenant, lifetimeMs: Math.max(waitMs, 1_000), body });
    const answer = await this.answer(order, waitMs, () => true);
    const result = answer?.receipt.receipt.result;
    if (answer === undefined) throw new WireFault('instance-away', target);
    if (result?.case !== 'status') throw new WireFault('receipt-mismatch', 'no status');
    return { agent: agentView(result.value), receipt: receiptView(order, answer) };
  }

  /** 200 with the proof; 202 while nobody has seen the death: the order is repeated. */
  @Post(':id/kill')
  async kill(
    @Param('id') id: string,
    @Body() { target, tenant = 'default', waitMs = WAIT_MS, reason = '' }: PeerKillDto,
    @Res({ passthrough: true }) response: { status(code: number): unknown },
  ): Promise<{ outcome: KillOutcomeName; confirmed: boolean; receipt: PeerReceiptView | null }> {
    const body: RoutedBody = { case: 'kill', value: create(KillAgentSchema, { agentId: agentId(id), reason }) };
    const order = await this.orders.issue({ target, tenant, lifetimeMs: KILL_LIFETIME_MS, body });
    const answer = await this.answer(order, waitMs, (one) => outcomeOf(one) !== 'unconfirmed');
    const outcome = outcomeOf(answer);
    const confirmed = outcome !== 'unconfirmed';
    response.status(confirmed ? HttpStatus.OK : HttpStatus.ACCEPTED);
    return { outcome, confirmed, receipt: answer === undefined ? null : receiptView(order, answer) };
  }

  /** @throws WireFault why the hub or the target refused */
  private async answer(
    order: PeerOrder,
    waitMs: number,
    isEnough: (answer: PeerAnswer) => boolean,
  ): Promise<PeerAnswer | undefined> {
    const isFinal = (answer: PeerAnswer): boolean => answer.receipt.kind === 'refused' || isEnough(answer);
    const answer = await order.answer(waitMs, isFinal);
    if (answer !== undefined && isFinal(answer)) this.orders.forget(order);
    const result = answer?.receipt.receipt.result;
    if (result?.case === 'refused')
      throw new WireFault(isFaultCode(result.value.code) ? result.value.code : 'internal');
    return answer;
  }
}

function outcomeOf(answer: PeerAnswer | undefined): KillOutcomeName {
  const result = answer?.receipt.receipt.result;
  return result?.case === 'killed' ? killOutcomeName(result.value.outcome) : 'unconfirmed';
}

function receiptView(order: PeerOrder, { receipt, envelope }: PeerAnswer): PeerReceiptView {
  const text = (it: typeof envelope): string => toBase64(encodeEnvelope(it));
  return { kind: receipt.kind, verified: true, envelope: text(envelope), command: text(order.envelope) };
}
