import { Body, Controller, Get, HttpCode, type OnModuleDestroy, Param, Post, Query } from '@nestjs/common';
import {
  agentId,
  newId,
  tenantId,
  toBase64,
  WireFault,
  type AgentView,
  type KillOutcomeName,
  type TenantId,
} from '@capstan/protocol';
import { Killswitch } from '../killswitch/killswitch.service.js';
import type { LogPageView } from '../monitor/agent-log.js';
import { Monitor } from '../monitor/monitor.service.js';
import type { Sample } from '../monitor/vitals.js';
import { VitalsWatch } from '../monitor/vitals-watch.js';
import { Admission } from '../spawner/admission.service.js';
import { Messages } from '../spawner/messages.service.js';
import { AgentStore } from '../valkey/agent.store.js';
import { KillAllDto, KillDto, ListQuery, LogQuery, MessageDto } from './dto/requests.dto.js';
import { SpawnAgentDto } from './dto/spawn-agent.dto.js';
import { wishOfRequest } from './dto/wish-of-request.js';
import { inTime } from './in-time.js';

interface KillReply {
  outcome: KillOutcomeName;
  /** Base64 of a serialized Envelope. */
  observation: string;
}

/** Agents of this instance: spawn by the owner, status, logs, kill. */
@Controller('agents')
export class AgentsController implements OnModuleDestroy {
  private readonly closing = new AbortController();

  constructor(
    private readonly admission: Admission,
    private readonly store: AgentStore,
    private readonly monitor: Monitor,
    private readonly vitals: VitalsWatch,
    private readonly killswitch: Killswitch,
    private readonly messages: Messages,
  ) {}

  /**
   * Queue an agent of the owner's own. The same order, repeated with its `agentId`, gets the same agent.
   *
   * @throws {WireFault} `policy-runtime`, `policy-repository`, `policy-tenant`, `policy-sandbox`, `policy-budget`,
   *   `policy-timeout`, `sandbox-missing`, `disarmed`, `agent-exists`, `queue-unavailable`
   * @throws LocalFault `reaper-unavailable`, `policy-unreadable`, `policy-invalid`
   */
  @Post('spawn')
  @HttpCode(202)
  async spawn(@Body() body: SpawnAgentDto): Promise<{ agentId: string }> {
    const agent = await inTime(this.admission.takeLocal(wishOfRequest(body)));
    return { agentId: agent.agentId };
  }

  /**
   * Agents, the newest first. `after` goes on behind an agent of the page before.
   *
   * @throws {WireFault} `agent-unknown` (it was forgotten since), `queue-unavailable`
   */
  @Get()
  async list(@Query() { after, limit }: ListQuery): Promise<AgentView[]> {
    const agents = await inTime(this.store.list(limit, after === undefined ? undefined : agentId(after)));
    if (agents === undefined) throw new WireFault('agent-unknown', 'it was forgotten since the page before');
    return agents.map((agent) => this.withVitals(agent));
  }

  /**
   * One agent as it is now.
   *
   * @throws {WireFault} `agent-unknown`, `id-malformed`, `queue-unavailable`
   */
  @Get(':id/status')
  async status(@Param('id') id: string): Promise<AgentView> {
    const agent = await inTime(this.store.find(agentId(id)));
    if (agent === undefined) throw new WireFault('agent-unknown');
    return this.withVitals(agent);
  }

  /**
   * What the agent has used lately, every two seconds; empty where it does not run.
   *
   * @throws {WireFault} `agent-unknown`, `id-malformed`, `queue-unavailable`
   */
  @Get(':id/samples')
  async samples(@Param('id') id: string): Promise<readonly Sample[]> {
    return this.vitals.samplesOf((await this.status(id)).agentId);
  }

  /**
   * A page of the agent's log. With `waitMs` it waits for a line where there is none yet.
   *
   * @throws {WireFault} `agent-unknown`, `id-malformed`, `queue-unavailable`
   */
  @Get(':id/logs')
  async logs(@Param('id') id: string, @Query() { after, limit, mostBytes, waitMs }: LogQuery): Promise<LogPageView> {
    const agent = await this.status(id);
    if (waitMs === 0) return this.monitor.page(agentId(agent.agentId), after, limit, mostBytes);
    const signal = AbortSignal.any([AbortSignal.timeout(waitMs), this.closing.signal]);
    return this.monitor.nextPage(agentId(agent.agentId), after, { limit, mostBytes }, signal);
  }

  /**
   * Tell a running agent something. It takes it up before it asks its model again.
   *
   * @throws {WireFault} `agent-unknown`, `agent-not-running`, `agent-ended`, `messages-unsupported`, `messages-full`,
   *   `message-exists`, `id-malformed`, `queue-unavailable`
   */
  @Post(':id/messages')
  @HttpCode(202)
  async message(@Param('id') id: string, @Body() body: MessageDto): Promise<{ messageId: string }> {
    const { messageId = newId(), text } = body;
    await inTime(this.messages.send(agentId(id), { messageId, text }));
    return { messageId };
  }

  private withVitals(agent: AgentView): AgentView {
    const vitals = this.vitals.of(agent.agentId);
    return vitals === undefined ? agent : { ...agent, vitals };
  }

  onModuleDestroy(): void {
    this.closing.abort();
  }

  /**
   * Kill one agent. Answers once the reaper has; an agent that was never seen gets a tombstone.
   *
   * @throws {WireFault} `id-malformed`
   * @throws LocalFault `reaper-unavailable`, `reaper-silent`: the order stands, and is followed
   */
  @Post(':id/kill')
  @HttpCode(200)
  async kill(@Param('id') id: string, @Body() body?: KillDto): Promise<KillReply & { agent: AgentView | null }> {
    const { outcome, observation, agent } = await this.killswitch.kill(agentId(id), body?.reason ?? '');
    return { outcome, observation: toBase64(observation), agent };
  }

  /**
   * Kill every agent of the instance, or of one tenant here. None starts there until it is re-armed.
   *
   * @throws {WireFault} `kill-epoch`: others have raised it at the reaper's own socket again and again
   * @throws LocalFault `reaper-unavailable`, `reaper-silent`: the order stands for those that run
   */
  @Post('kill-all')
  @HttpCode(200)
  async killAll(@Body() body?: KillAllDto): Promise<{ epoch: string; agents: (KillReply & { agentId: string })[] }> {
    const { epoch, agents } = await this.killswitch.killAll(body?.reason ?? '', tenantOf(body));
    return {
      epoch: String(epoch),
      agents: agents.map(({ observation, ...agent }) => ({ ...agent, observation: toBase64(observation) })),
    };
  }

  /**
   * Let agents start again after a kill-all.
   *
   * @throws LocalFault `reaper-unavailable`, `reaper-silent`
   */
  @Post('rearm')
  @HttpCode(204)
  async rearm(@Body() body?: KillAllDto): Promise<void> {
    await this.killswitch.rearm(tenantOf(body));
  }

  /**
   * Tell that kill epochs were raised at the reaper's own socket. Whoever was admitted before ends, and his work goes nowhere.
   *
   * @throws LocalFault `reaper-unavailable`, `reaper-silent`
   */
  @Post('noticed-kill-all')
  @HttpCode(204)
  async noticedKillAll(): Promise<void> {
    await this.killswitch.noticedKillAll();
  }

  /**
   * Tell that an agent was killed at the reaper's own socket. `agent` is null where it is unknown, or its state is not known yet.
   *
   * @throws {WireFault} `id-malformed`
   */
  @Post(':id/noticed-kill')
  @HttpCode(200)
  async noticedKill(@Param('id') id: string): Promise<{ agent: AgentView | null }> {
    return { agent: (await this.killswitch.noticed(agentId(id))) ?? null };
  }
}

function tenantOf(body?: KillAllDto): TenantId | undefined {
  return body?.tenant === undefined ? undefined : tenantId(body.tenant);
}
