import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type KeyPurpose,
  type KeyRecord,
  keyRecord,
  KeyRing,
  pinSuccessor,
  signPayload,
  SigningKey,
} from '@capstan/identity';
import type { Envelope, HubId, PayloadKind } from '@capstan/protocol';
import type { HubConfig } from '../hub.config.js';

/** What a hub's key is for: it proves itself on links, orders, admits others' orders, and renews leases. */
export const HUB_PURPOSES: readonly KeyPurpose[] = ['link', 'command', 'admit', 'lease'];

/** One of the hub's own keys. */
export interface HubKey {
  key: SigningKey;
  epoch: number;
}

/** Who this hub is. */
export class HubIdentity {
  /** The hub's own public keys, as its peers pin them. */
  readonly ring: KeyRing;
  private current: HubKey;
  private readonly former = new Map<string, HubKey>();
  /** Instances that have a link and have not heard of the newest key yet, with the key that they know. */
  private readonly lagging = new Map<string, HubKey>();

  constructor(
    readonly hubId: HubId,
    readonly displayName: string,
    key: SigningKey,
  ) {
    this.current = { key, epoch: 1 };
    this.ring = new KeyRing([keyRecord(hubId, key.publicKey, HUB_PURPOSES)], Date.now);
  }

  /** Loads the first key, or makes it at the first start (0600). @throws LocalFault where the key file is not ours alone */
  static async load(config: HubConfig): Promise<HubIdentity> {
    await mkdir(config.stateDirectory, { recursive: true, mode: 0o700 });
    const key = await SigningKey.loadOrCreate(join(config.stateDirectory, 'identity.key'));
    return new HubIdentity(config.hubId, config.displayName, key);
  }

  /** The newest key. */
  get key(): SigningKey {
    return this.current.key;
  }

  get epoch(): number {
    return this.current.epoch;
  }

  /** The newest first, then former ones that are believed still. */
  get believedKeys(): readonly SigningKey[] {
    const former = [...this.former.values()].map(({ key }) => key);
    return [this.key, ...former.filter(({ keyId }) => this.ring.get(keyId)?.revokedAt === undefined)];
  }

  /** The key that is put under what an instance will read: the newest that it knows. */
  signerFor(instanceId: string): HubKey {
    return this.lagging.get(instanceId) ?? this.current;
  }

  /**
   * The key with which a peer is greeted that knows this one, or, where it names none, the first: also one whose time is
   * over, so that it can hear of those after it.
   */
  greetingKey(keyId: string): SigningKey {
    const [first] = this.former.values();
    const known = keyId === '' ? first : this.former.get(keyId);
    return (known ?? this.current).key;
  }

  /** Signed with the newest key, and with former ones that are believed still: an invitation may be older than the newest. */
  signForNewcomer(kind: PayloadKind, payload: Uint8Array): Envelope {
    const envelopes = this.believedKeys.map((key) => signPayload(key, kind, payload));
    const [first, ...others] = envelopes;
    if (first === undefined) throw new RangeError('a hub has a key');
    return { ...first, signatures: [...first.signatures, ...others.flatMap(({ signatures }) => signatures)] };
  }

  /** The instance knows this former key and none after it, until `caughtUp`. */
  lags(instanceId: string, keyId: string): void {
    const known = this.former.get(keyId);
    if (known !== undefined) this.lagging.set(instanceId, known);
  }

  caughtUp(instanceId: string): void {
    this.lagging.delete(instanceId);
  }

  /** Another key is the newest from now on. */
  replace(key: SigningKey, { newKey, oldKey }: { newKey: KeyRecord; oldKey: KeyRecord }): void {
    this.former.set(oldKey.keyId, this.current);
    this.current = { key, epoch: newKey.epoch };
    pinSuccessor(this.ring, newKey, oldKey);
  }
}
