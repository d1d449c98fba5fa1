import { Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Caller } from '@capstan/platform';
import { stripControl } from '@capstan/protocol';
import { envelopeText } from '../commands/envelope-text.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { type ProbeProof, Probes } from './probes.js';

/** A proof that a kill would have arrived, as the API shows it. */
export interface ProbeView {
  instance: string;
  proven: true;
  latencyMs: number;
  provenAt: string;
  /** By the reaper's clock, milliseconds since the epoch. */
  takenAtMs: number;
  bootId: string;
  livingAgents: number;
  /** Envelopes of the receipt and of what it answers, base64: with them the proof can be verified elsewhere. */
  receipt: { kind: 'probed'; verified: true; receivedAt: string; envelope: string; command: string; result: null };
}

@ApiTags('connections')
@ApiBearerAuth()
@Controller('api/v1/federation/connections')
export class ProbesController {
  constructor(
    private readonly probes: Probes,
    private readonly connections: ConnectionStore,
  ) {}

  /**
   * @throws {WireFault} `instance-unknown`, `connection-not-active`, `instance-away`, `observation-invalid`, and why the
   *   instance refuses
   */
  @ApiOperation({ summary: 'Prove now that a kill would reach the reaper; by connection or by instance' })
  @HttpCode(200)
  @Post(':id/probe')
  async probe(@Param('id') id: string, @Caller() by: string): Promise<ProbeView> {
    const instance = this.connections.get(id)?.instanceId ?? id;
    return probeView(await this.probes.probe(instance, by));
  }
}

function probeView({ instance, latencyMs, provenAt, probe, command, receipt }: ProbeProof): ProbeView {
  const receivedAt = provenAt.toISOString();
  return {
    instance,
    proven: true,
    latencyMs,
    provenAt: receivedAt,
    takenAtMs: probe.takenAtMs,
    bootId: stripControl(probe.bootId),
    livingAgents: probe.livingAgents,
    receipt: {
      kind: 'probed',
      verified: true,
      receivedAt,
      envelope: envelopeText(receipt),
      command: envelopeText(command),
      result: null,
    },
  };
}
