import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { Audit } from './audit.js';

/** Says at each start under which connection, and with which keys, the instance acts from here on. */
@Injectable()
export class StartNote implements OnApplicationBootstrap {
  constructor(
    private readonly identity: SpokeIdentity,
    private readonly audit: Audit,
  ) {}

  onApplicationBootstrap(): void {
    const { instance, key, hubId, hubKeys } = this.identity;
    const pinned = hubKeys
      .records()
      .map(({ keyId }) => keyId)
      .join(' ');
    const detail = { connection: instance.connectionId, key: key.keyId, hub: hubId, hubKeys: pinned };
    this.audit.note({ kind: 'spoke.started', subject: instance.instanceId, detail });
  }
}
