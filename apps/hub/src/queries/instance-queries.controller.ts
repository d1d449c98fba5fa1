import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Caller } from '@capstan/platform';
import {
  type AgentPage,
  agentView,
  type AgentView,
  type CatalogView,
  catalogView,
  isId,
  WireFault,
} from '@capstan/protocol';
import { AgentDirectory } from '../agents/agent.directory.js';
import { safeText } from '../agents/safe-text.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { AgentPageQuery } from './instance-queries.dto.js';
import { Queries } from './queries.js';

/** Agents as their instance knows them at this moment. */
export interface AgentPageView {
  instance: string;
  agents: AgentView[];
  /** Pass as `after` to go on; empty on the last page. */
  next: string;
}

/** What an instance is asked live. Nothing of the answers is stored; that each is signed by the instance is checked. */
@ApiTags('connections')
@ApiBearerAuth()
@Controller('api/v1/federation/connections')
export class InstanceQueriesController {
  constructor(
    private readonly connections: ConnectionStore,
    private readonly queries: Queries,
    private readonly agents: AgentDirectory,
  ) {}

  /**
   * @throws {WireFault} `not-found`, `connection-not-active`, `instance-away`, `queue-unavailable`, `replica-stale`,
   *   `receipt-mismatch`, and why the instance refuses
   */
  @ApiOperation({ summary: 'What the instance offers, asked now' })
  @Get(':id/catalog')
  async catalog(@Param('id') id: string, @Caller() by: string): Promise<CatalogView> {
    const instance = this.instanceOf(id);
    return catalogView(instance, await this.queries.catalog(instance, by));
  }

  /**
   * @throws {WireFault} `not-found`, `connection-not-active`, `instance-away`, `queue-unavailable`, `replica-stale`,
   *   `receipt-mismatch`, `payload-malformed`, `id-malformed`, `wrong-issuer`, and why the instance refuses
   */
  @ApiOperation({ summary: 'The agents of the instance, asked now; the newest first' })
  @Get(':id/agents')
  async page(
    @Param('id') id: string,
    @Query() { after = '', limit = 100 }: AgentPageQuery,
    @Caller() by: string,
  ): Promise<AgentPageView> {
    const instance = this.instanceOf(id);
    return this.view(instance, after, await this.queries.agents(instance, after, limit, by));
  }

  private view(instance: string, after: string, { agents, next }: AgentPage): AgentPageView {
    if (next !== '' && (!isId(next) || next === after)) throw new WireFault('payload-malformed', 'next');
    for (const { agentId } of agents) {
      if (!isId(agentId)) throw new WireFault('id-malformed', 'an agent in the list');
      const owner = this.agents.peek(agentId);
      if (owner !== undefined && owner !== instance) throw new WireFault('wrong-issuer', `${agentId} is on ${owner}`);
    }
    return { instance, agents: agents.map((agent) => safeText(agentView(agent))), next };
  }

  private instanceOf(connectionId: string): string {
    const connection = this.connections.get(connectionId);
    if (connection === undefined) throw new WireFault('not-found', `connection ${connectionId}`);
    return connection.instanceId;
  }
}
