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

  /**
   * Take a signed spawn from the spoke. It is verified again; the same order, repeated, gets the same agent.
   *
   * @throws {WireFault} `envelope-malformed`, `payload-malformed`, `payload-type-unknown`, `unknown-field`, `id-malformed`,
   *   `signature-missing`, `signature-invalid`, `key-unknown`, `key-revoked`, `key-purpose`, `wrong-audience`,
   *   `wrong-direction`, `wrong-issuer`, `wrong-tenant`, `expired`, `admission-missing`, `admission-invalid`,
   *   `grant-invalid`, `grant-widened`, `grant-exceeded`, `secret-unreadable`, `policy-runtime`, `policy-repository`,
   *   `policy-tenant`, `policy-sandbox`, `policy-budget`, `policy-timeout`, `policy-operator`, `policy-peer`,
   *   `policy-secret`, `sandbox-missing`, `disarmed`, `kill-epoch`, `agent-exists`, `queue-unavailable`
   * @throws LocalFault `reaper-unavailable`, `policy-unreadable`, `policy-invalid`, `instance-unenrolled`,
   *   `trust-file-missing`, `trust-file-open`, `trust-file-malformed`
   */
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

  /**
   * How many agents wait and run, and whether they may be started.
   *
   * @throws {WireFault} `queue-unavailable`
   */
  @Get()
  view(): Promise<QueueView> {
    return inTime(this.queue.view());
  }

  /**
   * Start nothing until it is resumed; what runs goes on.
   *
   * @throws {WireFault} `queue-unavailable`
   */
  @Post('pause')
  @HttpCode(200)
  async pause(): Promise<QueueView> {
    await inTime(this.queue.pause());
    return this.view();
  }

  /**
   * Start agents again.
   *
   * @throws {WireFault} `queue-unavailable`
   */
  @Post('resume')
  @HttpCode(200)
  async resume(): Promise<QueueView> {
    await inTime(this.queue.resume());
    return this.view();
  }

  /**
   * How many agents wait, run, have completed, have not.
   *
   * @throws {WireFault} `queue-unavailable`
   */
  @Get('counts')
  counts(): Promise<QueueCounts> {
    return inTime(this.queue.counts());
  }
}
