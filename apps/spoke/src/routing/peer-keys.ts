import { type KeyRecord, KeyRing, saveTrust } from '@capstan/identity';
import { createLogger } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { TrustRing } from './trust-ring.js';

/**
 * Keys of other instances, in `peers.json`. The first that the hub vouches for is pinned and believed from then on,
 * whatever the hub says later; the owner can write the file beforehand, or take an entry out of it.
 */
@Injectable()
export class PeerKeys {
  private readonly log = createLogger('spoke.peers');
  private readonly file: TrustRing;
  private writing: Promise<void> = Promise.resolve();

  constructor(
    config: SpokeConfig,
    private readonly audit: Audit,
  ) {
    this.file = new TrustRing(config.dir.peersFile);
  }

  /** @throws LocalFault `trust-file-…` */
  current(): Promise<KeyRing> {
    return this.file.current();
  }

  /**
   * The keys with which something of a peer is verified: for each purpose the pinned ones, and only where there is none
   * what the hub vouches for.
   *
   * @returns the ring, and what must be pinned once the thing is believed
   * @throws LocalFault `trust-file-…`
   */
  async believed(vouched: readonly KeyRecord[]): Promise<{ keys: KeyRing; toPin: KeyRecord[] }> {
    const pinned = (await this.current()).records();
    const owners = new Set(vouched.map(({ owner }) => owner));
    const keys = new KeyRing(pinned.filter(({ owner }) => owners.has(owner)));
    const toPin = vouched.filter((key) => !pinned.some((other) => hasSameRole(other, key)));
    for (const key of toPin) keys.add(key);
    return { keys, toPin };
  }

  /** Pins keys on first use; on disk when this resolves. @throws WireFault `key-unknown` where another was pinned meanwhile */
  async pin(keys: readonly KeyRecord[]): Promise<void> {
    if (keys.length === 0) return;
    const written = this.writing.then(() => this.write(keys));
    this.writing = written.catch(() => undefined);
    await written;
  }

  private async write(keys: readonly KeyRecord[]): Promise<void> {
    const known = await this.current();
    const others = known.records();
    const added = keys.filter(({ keyId }) => known.get(keyId) === undefined);
    const taken = added.find((key) => others.some((other) => hasSameRole(other, key)));
    if (taken !== undefined) throw new WireFault('key-unknown', `another key of ${taken.owner} is pinned`);
    if (added.length === 0) return;
    await saveTrust(this.file.file, new KeyRing([...others, ...added]));
    for (const { owner, keyId, purposes } of added) {
      this.log.info({ msg: 'a peer’s key was pinned at first sight', owner, keyId, purposes });
      this.audit.note({ kind: 'peer.pinned', subject: owner, detail: { keyId, purposes: purposes.join(' ') } });
    }
  }
}

function hasSameRole(a: KeyRecord, b: KeyRecord): boolean {
  return a.owner === b.owner && a.purposes.some((purpose) => b.purposes.includes(purpose));
}
