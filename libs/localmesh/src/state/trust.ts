import { join } from 'node:path';
import { type KeyRecord, type KeyRing, keyRecord, loadTrustIfAny, saveTrust, SigningKey } from '@capstan/identity';

/**
 * Pins the keys of the hub and of the instances on this machine, read from their own files and never from the network:
 * what `capstan verify` trusts. Keys that were pinned before stay: what they have signed holds after they were replaced.
 */
export async function pinKeys(
  file: string,
  hub: { id: string; dir: string },
  instances: readonly { id: string; dir: string }[],
): Promise<void> {
  const ring = await loadTrustIfAny(file);
  pin(
    ring,
    keyRecord(hub.id, (await SigningKey.load(join(hub.dir, 'identity.key'))).publicKey, [
      'link',
      'command',
      'admit',
      'lease',
    ]),
  );
  for (const { id, dir } of instances) {
    const [identity, reaper] = await Promise.all([
      SigningKey.load(join(dir, 'identity.key')),
      SigningKey.load(join(dir, 'reaper.key')),
    ]);
    // It signs commands too, for other instances.
    pin(ring, keyRecord(id, identity.publicKey, ['link', 'receipt', 'command']));
    pin(ring, keyRecord(id, reaper.publicKey, ['observe']));
  }
  await saveTrust(file, ring);
}

/** A further key of the same owner for the same is the next one. */
function pin(ring: KeyRing, key: KeyRecord): void {
  if (ring.get(key.keyId) !== undefined) return;
  const before = ring
    .records()
    .filter(({ owner, purposes }) => owner === key.owner && purposes.some((purpose) => key.purposes.includes(purpose)));
  ring.add({ ...key, epoch: 1 + Math.max(0, ...before.map(({ epoch }) => epoch)) });
}
