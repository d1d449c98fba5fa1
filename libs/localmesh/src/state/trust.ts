import { join } from 'node:path';
import { KeyRing, keyRecord, saveTrust, SigningKey } from '@capstan/identity';

/**
 * Pins the keys of the hub and of the instances on this machine, read from their own files and never from the network:
 * what `capstan verify` trusts.
 */
export async function pinKeys(
  file: string,
  hub: { id: string; dir: string },
  instances: readonly { id: string; dir: string }[],
): Promise<void> {
  const ring = new KeyRing();
  ring.add(
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
    ring.add(keyRecord(id, identity.publicKey, ['link', 'receipt', 'command']));
    ring.add(keyRecord(id, reaper.publicKey, ['observe']));
  }
  await saveTrust(file, ring);
}
