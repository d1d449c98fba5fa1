import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { decodeEnvelope, fromBase64 } from '@capstan/protocol';
import { RoutedCommandDto } from './operator.dto.js';
import { RoutingDesk } from './routing-desk.js';

@ApiTags('commands')
@ApiBearerAuth()
@Controller('api/v1/federation/commands')
export class RoutedCommandsController {
  constructor(private readonly desk: RoutingDesk) {}

  /**
   * @throws {WireFault} `envelope-malformed`, `envelope-too-large`, `payload-malformed`, `payload-type-unknown`,
   *   `unknown-field`, `id-malformed`, `signature-missing`, `signature-invalid`, `key-unknown`, `key-revoked`, `key-purpose`,
   *   `wrong-audience`, `wrong-direction`, `wrong-issuer`, `clock-skew`, `expired`, `replayed`, `route-cycle`, `hop-limit`,
   *   `instance-unknown`, `connection-not-active`, `agent-exists`, `agent-unknown`, `policy-peer`, `disarmed`,
   *   `policy-probe`, `queue-unavailable`, `replica-stale`
   * @throws LocalFault `routing-policy`, `database-unavailable`
   */
  @ApiOperation({ summary: 'Route a command that an operator has signed; it is on disk when this answers' })
  @HttpCode(202)
  @Post()
  async route(
    @Body() { envelope }: RoutedCommandDto,
  ): Promise<{ commandId: string; agentId: string; instance: string; state: string }> {
    const { record } = await this.desk.fromOperator(decodeEnvelope(fromBase64(envelope)));
    const { id, agentId, instance, state } = record;
    return { commandId: id, agentId, instance, state };
  }
}
