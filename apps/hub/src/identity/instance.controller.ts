import { Controller, Get } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { VERSIONS } from '@capstan/link';
import { Open } from '@capstan/platform';
import { toHex } from '@capstan/protocol';
import { HubIdentity } from './hub-identity.js';

/** What a hub says of itself to anybody. */
export interface InstanceDocument {
  id: string;
  displayName: string;
  kind: 'hub';
  keys: { keyId: string; publicKey: string; purposes: readonly string[]; epoch: number }[];
  capabilities: string[];
  protocolVersions: number[];
}

const CAPABILITIES = [
  'agent.spawn',
  'agent.status',
  'agent.kill',
  'agent.kill-all',
  'agent.rearm',
  'agent.logs',
  'kill.probe',
];

@ApiTags('federation')
@Open()
@Controller('api/v1/federation/instance')
export class InstanceController {
  constructor(private readonly identity: HubIdentity) {}

  @ApiOperation({ summary: 'Who this hub is: id, display name, public keys, capabilities, protocol versions' })
  @Get()
  describe(): InstanceDocument {
    const { hubId, displayName, ring } = this.identity;
    // The newest first, and none whose time is over.
    const keys = ring
      .records()
      .filter(({ keyId }) => ring.get(keyId)?.revokedAt === undefined)
      .sort((a, b) => b.epoch - a.epoch)
      .map(({ keyId, publicKey, purposes, epoch }) => ({ keyId, publicKey: toHex(publicKey), purposes, epoch }));
    return {
      id: hubId,
      displayName,
      kind: 'hub',
      keys,
      capabilities: CAPABILITIES,
      protocolVersions: [...VERSIONS],
    };
  }
}
