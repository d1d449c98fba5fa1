import { Body, Controller, Get, HttpCode, HttpStatus, Param, Post, Query, Res } from '@nestjs/common';
import { ApiAcceptedResponse, ApiBearerAuth, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Caller } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import { Queries } from '../queries/queries.js';
import { ReceiptStore } from '../receipts/receipt.store.js';
import type { ReceiptView } from '../receipts/receipt-view.js';
import { AgentIdPipe } from './agent-id.pipe.js';
import { AgentOrders, type KillAnswer, type StatusAnswer } from './agent-orders.js';
import { KillAgentDto, LogsQuery } from './agent.dto.js';
import { AgentStore, type ReportedAgentView } from './agent.store.js';
import { type LogPageView, logPageView } from './log-page.js';
import { SpawnAgentDto } from './spawn.dto.js';

@ApiTags('agents')
@ApiBearerAuth()
@Controller('api/v1/federation/agents')
export class AgentsController {
  constructor(
    private readonly orders: AgentOrders,
    private readonly agents: AgentStore,
    private readonly receipts: ReceiptStore,
    private readonly queries: Queries,
  ) {}

  /**
   * @throws {WireFault} `instance-unknown`, `connection-not-active`, `disarmed`, `policy-probe`, `agent-exists`,
   *   `queue-unavailable`, `replica-stale`
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'Order an agent; the command is on disk when this answers, not yet delivered' })
  @HttpCode(202)
  @Post('spawn')
  async spawn(
    @Body() body: SpawnAgentDto,
    @Caller() by: string,
  ): Promise<{ commandId: string; agentId: string; instance: string; state: string }> {
    const { id, agentId, instance, state } = await this.orders.spawn(body, by);
    return { commandId: id, agentId, instance, state };
  }

  @ApiOperation({ summary: 'Agents as their instances last reported them' })
  @Get()
  list(): Promise<ReportedAgentView[]> {
    return this.agents.list();
  }

  /** @throws {WireFault} `id-malformed`, `agent-unknown` */
  @ApiOperation({ summary: 'One agent as last reported, with its receipts' })
  @Get(':agentId')
  async get(@Param('agentId', AgentIdPipe) agentId: string): Promise<ReportedAgentView & { receipts: ReceiptView[] }> {
    const [agent, receipts] = await Promise.all([this.agents.find(agentId), this.receipts.ofAgent(agentId)]);
    if (agent === undefined) throw new WireFault('agent-unknown', agentId);
    return { ...agent, receipts };
  }

  /**
   * @throws {WireFault} `id-malformed`, `agent-unknown`, `instance-unknown`, `connection-not-active`, `instance-away`,
   *   `queue-unavailable`, `replica-stale`, `receipt-mismatch`, and why the instance refuses
   * @throws LocalFault `database-unavailable`
   */
  @ApiOperation({ summary: 'Ask the instance now: the answer is signed by it, and verified here' })
  @Get(':agentId/status')
  status(@Param('agentId', AgentIdPipe) agentId: string, @Caller() by: string): Promise<StatusAnswer> {
    return this.orders.status(agentId, by);
  }

  /** @throws {WireFault} `id-malformed`, `agent-unknown`, `instance-unknown`, `connection-not-active` */
  @ApiOperation({ summary: 'Kill an agent: 200 with the proof, or 202 while its death is not observed' })
  @ApiOkResponse({ description: 'The instance has answered, with the proof' })
  @ApiAcceptedResponse({ description: 'The death is not observed yet' })
  @Post(':agentId/kill')
  async kill(
    @Param('agentId', AgentIdPipe) agentId: string,
    @Body() body: KillAgentDto,
    @Caller() by: string,
    @Res({ passthrough: true }) response: { status(code: number): unknown },
  ): Promise<KillAnswer> {
    const answer = await this.orders.kill(agentId, body, by);
    response.status(answer.confirmed ? HttpStatus.OK : HttpStatus.ACCEPTED);
    return answer;
  }

  /**
   * @throws {WireFault} `id-malformed`, `agent-unknown`, `instance-unknown`, `connection-not-active`, `instance-away`,
   *   `queue-unavailable`, `replica-stale`, `receipt-mismatch`, `payload-malformed`, and why the instance refuses
   */
  @ApiOperation({ summary: "A page of the agent's log, from its instance" })
  @Get(':agentId/logs')
  async logs(
    @Param('agentId', AgentIdPipe) agentId: string,
    @Query() { after, limit }: LogsQuery,
    @Caller() by: string,
  ): Promise<LogPageView> {
    const instance = await this.orders.instanceOf(agentId);
    return logPageView(await this.queries.logs(instance, agentId, BigInt(after ?? 0), limit ?? 500, by));
  }
}
