import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type KeyPurpose, keyRecord, KeyRing, SigningKey } from '@capstan/identity';
import type { HubId } from '@capstan/protocol';
import type { HubConfig } from '../hub.config.js';

/** What a hub's key is for: it proves itself on links, orders, admits others' orders, and renews leases. */
export const HUB_PURPOSES: readonly KeyPurpose[] = ['link', 'command', 'admit', 'lease'];

/** Who this hub is. */
export class HubIdentity {
  /** The hub's own public key, as its peers pin it. */
  readonly ring: KeyRing;

  constructor(
    readonly hubId: HubId,
    readonly displayName: string,
    readonly key: SigningKey,
  ) {
    this.ring = new KeyRing([keyRecord(hubId, key.publicKey, HUB_PURPOSES)]);
  }

  /** Loads the key, or makes it at the first start (0600). @throws LocalFault where the key file is not ours alone */
  static async load(config: HubConfig): Promise<HubIdentity> {
    await mkdir(config.stateDirectory, { recursive: true, mode: 0o700 });
    const key = await SigningKey.loadOrCreate(join(config.stateDirectory, 'identity.key'));
    return new HubIdentity(config.hubId, config.displayName, key);
  }
}
