import { existsSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { keyRecord, KeyRing, loadTrust, saveTrust, type KeyRecord } from '@capstan/identity';
import { LocalFault } from '@capstan/protocol';

/** Writable by group or others. */
const OPEN = 0o022;

/** Pins the hub whose renewals count: the owner's act, when the instance joins. */
export async function pinHub(directory: string, hubId: string, publicKey: Uint8Array, epoch = 1): Promise<void> {
  await savePin(directory, [{ ...keyRecord(hubId, publicKey, ['lease']), epoch }]);
}

/**
 * The hub's pinned key, from a file of the reaper's own: what the spoke does to its trust file changes nothing here.
 * An instance that joined before it had one gets it from the trust file, once. Without either, nobody can renew.
 *
 * @throws LocalFault `hub-pin-open` where another user could have written it; `trust-file-…`
 */
export async function loadHubPin(directory: string): Promise<KeyRing> {
  const pin = pinFile(directory);
  if (existsSync(pin)) return readOurs(pin);
  const trust = join(directory, 'trust.json');
  if (!existsSync(trust)) return new KeyRing();
  const keys = (await readOurs(trust)).records().filter(({ purposes }) => purposes.includes('lease'));
  await savePin(
    directory,
    keys.map((key) => ({ ...key, purposes: ['lease'] })),
  );
  return readOurs(pin);
}

function pinFile(directory: string): string {
  return join(directory, 'reaper', 'hub.json');
}

/** On disk when this resolves. */
export async function savePin(directory: string, keys: KeyRecord[]): Promise<void> {
  const pin = pinFile(directory);
  await mkdir(dirname(pin), { recursive: true, mode: 0o700 });
  await saveTrust(pin, new KeyRing(keys));
}

async function readOurs(file: string): Promise<KeyRing> {
  for (const path of [dirname(file), file]) {
    const { uid, mode } = await stat(path);
    const isOthers = process.geteuid !== undefined && uid !== process.geteuid() && uid !== 0;
    if (isOthers || (mode & OPEN) !== 0) {
      throw new LocalFault('hub-pin-open', "Another user could have written the reaper's pinned hub key.", path);
    }
  }
  return loadTrust(file);
}
