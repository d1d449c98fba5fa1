import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { agentId, toBase64, WireFault, type AgentView, type KillOutcomeName } from '@capstan/protocol';
import { Killswitch } from '../killswitch/killswitch.service.js';
import type { LogPageView } from '../monitor/agent-log.js';
import { Monitor } from '../monitor/monitor.service.js';
import { Admission } from '../spawner/admission.service.js';
import { AgentStore } from '../valkey/agent.store.js';
import { KillDto, LogQuery } from './dto/requests.dto.js';
import { SpawnAgentDto } from './dto/spawn-agent.dto.js';
import { wishOfRequest } from './dto/wish-of-request.js';
import { inTime } from './in-time.js';

const MOST_LISTED = 1000;

interface KillReply {
  outcome: KillOutcomeName;
  /** Base64 of a serialized Envelope. */
  observation: string;
}

/** Agents of this instance: spawn by the owner, status, logs, kill. */
@Controller('agents')
export class AgentsController {
  constructor(
    private readonly admission: Admission,
    private readonly store: AgentStore,
    private readonly monitor: Monitor,
    private readonly killswitch: Killswitch,
  ) {}

  @Post('spawn')
  @HttpCode(202)
  async spawn(@Body() body: SpawnAgentDto): Promise<{ agentId: string }> {
    const agent = await inTime(this.admission.takeLocal(wishOfRequest(body)));
    return { agentId: agent.agentId };
  }

  /** The newest first. */
  @Get()
  list(): Promise<AgentView[]> {
    return inTime(this.store.list(MOST_LISTED));
  }

  @Get(':id/status')
  async status(@Param('id') id: string): Promise<AgentView> {
    const agent = await inTime(this.store.find(agentId(id)));
    if (agent === undefined) throw new WireFault('agent-unknown');
    return agent;
  }

  @Get(':id/logs')
  async logs(@Param('id') id: string, @Query() { after, limit }: LogQuery): Promise<LogPageView> {
    const agent = await this.status(id);
    return this.monitor.page(agentId(agent.agentId), after, limit);
  }

  /** Answers once the reaper has; an agent that was never seen gets a tombstone. */
  @Post(':id/kill')
  @HttpCode(200)
  async kill(@Param('id') id: string, @Body() body?: KillDto): Promise<KillReply & { agent: AgentView | null }> {
    const { outcome, observation, agent } = await this.killswitch.kill(agentId(id), body?.reason ?? '');
    return { outcome, observation: toBase64(observation), agent };
  }

  @Post('kill-all')
  @HttpCode(200)
  async killAll(@Body() body?: KillDto): Promise<{ epoch: string; agents: (KillReply & { agentId: string })[] }> {
    const { epoch, agents } = await this.killswitch.killAll(body?.reason ?? '');
    return {
      epoch: String(epoch),
      agents: agents.map(({ observation, ...agent }) => ({ ...agent, observation: toBase64(observation) })),
    };
  }

  /** After a kill-all: agents may be spawned again. */
  @Post('rearm')
  @HttpCode(204)
  async rearm(): Promise<void> {
    await this.killswitch.rearm();
  }

  /** The spoke tells that it killed by the reaper; null where the agent is unknown or its state is not known yet. */
  @Post(':id/noticed-kill')
  @HttpCode(200)
  async noticedKill(@Param('id') id: string): Promise<{ agent: AgentView | null }> {
    return { agent: (await this.killswitch.noticed(agentId(id))) ?? null };
  }
}
