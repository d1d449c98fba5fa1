import { Controller, Get } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { Open } from '@capstan/platform';
import { toHex } from '@capstan/protocol';
import { HubIdentity } from './hub-identity.js';

/** What a hub says of itself to anybody. */
export interface InstanceDocument {
  id: string;
  displayName: string;
  kind: 'hub';
  keys: { keyId: string; publicKey: string; purposes: readonly string[] }[];
  capabilities: string[];
  protocolVersions: number[];
}

const CAPABILITIES = ['agent.spawn', 'agent.status', 'agent.kill', 'agent.logs'];

@ApiTags('federation')
@Open()
@Controller('api/v1/federation/instance')
export class InstanceController {
  private readonly document: InstanceDocument;

  constructor({ hubId, displayName, ring }: HubIdentity) {
    const keys = ring
      .records()
      .map(({ keyId, publicKey, purposes }) => ({ keyId, publicKey: toHex(publicKey), purposes }));
    this.document = { id: hubId, displayName, kind: 'hub', keys, capabilities: CAPABILITIES, protocolVersions: [1] };
  }

  @ApiOperation({ summary: 'Who this hub is: id, display name, public keys, capabilities, protocol versions' })
  @Get()
  describe(): InstanceDocument {
    return this.document;
  }
}
