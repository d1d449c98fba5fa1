import { type Belief, type KeyRecord, KeyRing, saveTrust, skippedFor } from '@capstan/identity';
import { createLogger } from '@capstan/platform';
import { type Envelope, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { followed } from './peer-statements.js';
import { TrustRing } from './trust-ring.js';

/**
 * Keys of other instances, in `peers.json`. The first that the hub vouches for is pinned and believed from then on,
 * whatever the hub says later; the owner can write the file beforehand, or take an entry out of it. A key that takes the
 * place of a pinned one is followed by the pinned one's own statement, or by that of a root key that is pinned here.
 */
@Injectable()
export class PeerKeys {
  private readonly log = createLogger('spoke.peers');
  private readonly file: TrustRing;
  private writing: Promise<void> = Promise.resolve();

  constructor(
    private readonly config: SpokeConfig,
    private readonly audit: Audit,
  ) {
    this.file = new TrustRing(config.dir.peersFile);
  }

  /** @throws LocalFault `trust-file-…` */
  current(): Promise<KeyRing> {
    return this.file.current();
  }

  /** What statements make of the pinned keys; nothing is kept of it. @throws LocalFault `trust-file-…` */
  async following(statements: readonly Envelope[]): Promise<Belief> {
    return followed(await this.current(), statements);
  }

  /** Those of them that may order now. */
  forOrders({ keys }: Belief): KeyRing {
    return keys.withClock(this.config.now);
  }

  /** Pins what the statements lead to; on disk when this resolves. @throws LocalFault `trust-file-…` */
  async follow(statements: readonly Envelope[]): Promise<void> {
    if (statements.length === 0) return;
    await this.inTurn(async () => {
      const belief = await this.following(statements);
      if (belief.followed.length > 0) await saveTrust(this.file.file, belief.keys);
      for (const { oldKey, newKey, by } of belief.followed) {
        const detail = { oldKey: oldKey.keyId, newKey: newKey.keyId, by };
        this.log.info({ msg: 'a peer has another key', owner: newKey.owner, ...detail });
        this.audit.note({ kind: 'peer.key-replaced', subject: newKey.owner, detail });
      }
      for (const { owner, oldKeyId: oldKey, newKeyId: newKey, code } of belief.skipped) {
        if (code !== 'key-fork') continue;
        this.log.error({ msg: 'a peer’s key has signed for two keys in its place', owner, oldKey, newKey });
        this.audit.noteSome({ kind: 'peer.key-forked', subject: owner, detail: { oldKey, newKey } });
      }
    });
  }

  /** What is to be said where a peer's key is unknown only because a statement is not believed here. */
  explained(error: unknown, belief: Belief, envelope: Envelope | undefined): unknown {
    if (!(error instanceof WireFault && error.code === 'key-unknown') || envelope === undefined) return error;
    const skipped = skippedFor(belief, envelope);
    if (skipped === undefined) return error;
    const { owner, newKeyId: newKey, code } = skipped;
    const msg = 'a peer has a key that is not followed here: ask its owner, then pin it anew in peers.json';
    this.log.error({ msg, owner, newKey, code, file: this.file.file });
    const kind = code === 'key-fork' ? 'peer.key-forked' : 'peer.key-unfollowed';
    this.audit.noteSome({ kind, subject: owner, detail: { newKey, code } });
    return new WireFault(code === 'key-fork' ? code : 'key-unfollowed', `${owner}: ${code}`, { cause: error });
  }

  /**
   * The keys with which something of a peer is verified: for each purpose the pinned ones, and only where there is none
   * what the hub vouches for.
   *
   * @returns the ring, and what must be pinned once the thing is believed
   */
  believed(belief: Belief, vouched: readonly KeyRecord[]): { keys: KeyRing; toPin: KeyRecord[] } {
    const pinned = belief.keys.records();
    const owners = new Set(vouched.map(({ owner }) => owner));
    const keys = new KeyRing(pinned.filter(({ owner }) => owners.has(owner)));
    const toPin = vouched.filter((key) => !pinned.some((other) => hasSameRole(other, key)));
    for (const key of toPin) keys.add(key);
    return { keys, toPin };
  }

  /** Pins keys on first use; on disk when this resolves. @throws WireFault `key-unknown` where another was pinned meanwhile */
  async pin(keys: readonly KeyRecord[]): Promise<void> {
    if (keys.length === 0) return;
    await this.inTurn(() => this.write(keys));
  }

  private async inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.writing.then(work);
    this.writing = done.catch(() => undefined);
    await done;
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
