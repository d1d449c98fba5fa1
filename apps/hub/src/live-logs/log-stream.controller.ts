import type { ServerResponse } from 'node:http';
import { Controller, Get, Headers, Param, Query, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiProduces, ApiPropertyOptional, ApiTags } from '@nestjs/swagger';
import { Caller } from '@capstan/platform';
import { IsOptional, Matches } from 'class-validator';
import { AgentIdPipe } from '../agents/agent-id.pipe.js';
import { AgentOrders } from '../agents/agent-orders.js';
import { OpenStreams } from '../streams/open-streams.js';
import { LogFollower } from './log-follower.js';

/** Any safe integer in decimal. */
const SEQUENCE = /^\d{1,15}$/;

export class LogStreamQuery {
  @ApiPropertyOptional({ default: '0', description: 'Sequence of the last line already seen' })
  @IsOptional()
  @Matches(SEQUENCE, { message: 'after must be a number of a line' })
  after?: string;
}

@ApiTags('agents')
@ApiBearerAuth()
@Controller('api/v1/federation/agents')
export class LogStreamController {
  constructor(
    private readonly streams: OpenStreams,
    private readonly orders: AgentOrders,
    private readonly follower: LogFollower,
  ) {}

  /**
   * @throws {WireFault} `too-many-connections`, `id-malformed`, `agent-unknown`, `instance-unknown`, `connection-not-active`,
   *   `instance-away`, `queue-unavailable`, `replica-stale`, `receipt-mismatch`, and why the instance refuses
   */
  @ApiOperation({ summary: "An agent's log as it grows, as server-sent events" })
  @ApiHeader({ name: 'Last-Event-ID', required: false, description: 'Goes on behind this line, whatever `after` says' })
  @ApiProduces('text/event-stream')
  @Get(':agentId/logs/stream')
  stream(
    @Param('agentId', AgentIdPipe) agentId: string,
    @Query() { after = '0' }: LogStreamQuery,
    @Headers('last-event-id') last: string | undefined,
    @Caller() by: string,
    @Res() response: ServerResponse,
  ): Promise<void> {
    const from = Number(last !== undefined && SEQUENCE.test(last) ? last : after);
    return this.streams.serve(
      response,
      async () => this.follower.follow(await this.orders.instanceOf(agentId), agentId, from, by),
      async (stream, following) => {
        await using log = following;
        for await (const event of log.events(stream.signal)) await stream.send(event);
      },
    );
  }
}
