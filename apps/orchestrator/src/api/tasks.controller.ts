import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { taskId, toBase64, WireFault, type KillOutcomeName } from '@capstan/protocol';
import { Killswitch } from '../killswitch/killswitch.service.js';
import { AgentStore } from '../valkey/agent.store.js';
import type { TaskView } from '../valkey/task-state.js';
import { KillDto } from './dto/requests.dto.js';
import { inTime } from './in-time.js';

/** Tasks as this instance knows them. */
@Controller('tasks')
export class TasksController {
  constructor(
    private readonly store: AgentStore,
    private readonly killswitch: Killswitch,
  ) {}

  /**
   * One task as it is now.
   *
   * @throws {WireFault} `not-found`, `id-malformed`, `queue-unavailable`
   */
  @Get(':id')
  async task(@Param('id') id: string): Promise<TaskView> {
    const task = await inTime(this.store.findTask(taskId(id)));
    if (task === undefined) throw new WireFault('not-found');
    return task;
  }

  /**
   * Kill every agent of the task, the waiting ones included. Agents that are ordered later may start. Where it is not
   * `complete`, it is not known who waits: some may start, until a repetition is complete.
   *
   * @throws {WireFault} `id-malformed`
   * @throws LocalFault `reaper-unavailable`, `reaper-silent`
   */
  @Post(':id/kill')
  @HttpCode(200)
  async kill(
    @Param('id') id: string,
    @Body() body?: KillDto,
  ): Promise<{ complete: boolean; agents: { agentId: string; outcome: KillOutcomeName; observation: string }[] }> {
    const { complete, agents } = await this.killswitch.killTask(taskId(id), body?.reason ?? '');
    return {
      complete,
      agents: agents.map(({ agentId, outcome, observation }) => ({
        agentId,
        outcome,
        observation: toBase64(observation),
      })),
    };
  }
}
