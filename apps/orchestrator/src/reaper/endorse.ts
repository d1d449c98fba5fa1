import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { handshakePae, SigningKey } from '@capstan/identity';
import { fromHex, hubId, instanceId, LocalFault, toHex } from '@capstan/protocol';
import { pinHub } from './lease/hub-pin.js';

const KEY = /^[0-9a-f]{64}$/;
const EPOCH = /^[1-9][0-9]{0,8}$/;

/**
 * `endorse.js DIRECTORY INSTANCE-ID IDENTITY-KEY-HEX HUB-ID HUB-KEY-HEX [HUB-KEY-EPOCH]`: makes the reaper's key if there is none, and
 * proves that its holder vouches for the instance's identity key, so that the hub can pin both at enrolment. Pins the
 * hub whose renewals of leases the reaper will believe.
 *
 * Prints one JSON object: {publicKey, signature}, both hex. The private key never leaves the reaper's room.
 */
async function main(): Promise<void> {
  const [directory, name = '', identityKey = '', hub = '', hubKey = '', epoch = '1'] = process.argv.slice(2);
  if (directory === undefined || !KEY.test(identityKey) || !KEY.test(hubKey) || !EPOCH.test(epoch)) {
    throw new LocalFault(
      'usage',
      'Usage: endorse.js DIRECTORY INSTANCE-ID IDENTITY-KEY-HEX HUB-ID HUB-KEY-HEX [HUB-KEY-EPOCH]',
    );
  }
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const key = await SigningKey.loadOrCreate(join(directory, 'reaper.key'));
  await pinHub(directory, hubId(hub), fromHex(hubKey), Number(epoch));
  const statement = handshakePae('capstan.v1.reaper-endorse', Buffer.from(instanceId(name)), fromHex(identityKey));
  const answer = { publicKey: toHex(key.publicKey), signature: toHex(key.sign(statement)) };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
