import { Body, Controller, Get, HttpCode, Post } from '@nestjs/common';
import { fromBase64, type AgentView } from '@capstan/protocol';
import { AgentQueue, type QueueCounts, type QueueView } from '../queue/agent.queue.js';
import { Admission } from '../spawner/admission.service.js';
import { CommandDto } from './dto/requests.dto.js';
import { inTime } from './in-time.js';

/** Signed orders, as the spoke hands them on. */
@Controller('commands')
export class CommandsController {
  constructor(private readonly admission: Admission) {}

  /** The same order, repeated, gets the same agent. */
  @Post()
  @HttpCode(202)
  take(@Body() { envelope, admission, secrets = [] }: CommandDto): Promise<AgentView> {
    const admitted = admission === undefined ? undefined : fromBase64(admission);
    const clear = Object.fromEntries(secrets.map(({ name, value }) => [name, value]));
    return inTime(this.admission.takeCommand(fromBase64(envelope), admitted, clear));
  }
}

/** Agents that wait for their start, and whether they may be started. */
@Controller('queue')
export class QueueController {
  constructor(private readonly queue: AgentQueue) {}

  @Get()
  view(): Promise<QueueView> {
    return inTime(this.queue.view());
  }

  /** Nothing is started until it is resumed; what runs goes on. */
  @Post('pause')
  @HttpCode(200)
  async pause(): Promise<QueueView> {
    await inTime(this.queue.pause());
    return this.view();
  }

  @Post('resume')
  @HttpCode(200)
  async resume(): Promise<QueueView> {
    await inTime(this.queue.resume());
    return this.view();
  }

  /** How many agents wait, run, have completed, have not. */
  @Get('counts')
  counts(): Promise<QueueCounts> {
    return inTime(this.queue.counts());
  }
}
