import { basename, resolve } from 'node:path';
import { LocalFault, WireFault } from '@capstan/protocol';
import { joinHub } from './enrollment/join-hub.js';

/**
 * `join.js DIRECTORY INVITE [INSTANCE-ID]`: enrols the instance in DIRECTORY, named after it unless told, with the hub
 * that the invitation names. Prints one JSON object: {instanceId, hub, connectionId, state}.
 */
try {
  const [directory, invite, name] = process.argv.slice(2);
  if (directory === undefined || invite === undefined) {
    throw new LocalFault('usage', 'Usage: join.js DIRECTORY INVITE [INSTANCE-ID]');
  }
  const dir = resolve(directory);
  const { instance, state } = await joinHub({ dir, invite, instanceId: name ?? basename(dir) });
  const { instanceId, hub, connectionId } = instance;
  process.stdout.write(`${JSON.stringify({ instanceId, hub, connectionId, state })}\n`);
} catch (error) {
  const isOurs = error instanceof LocalFault || error instanceof WireFault;
  process.stderr.write(`${isOurs ? `${error.sentence} (${error.code})` : String(error)}\n`);
  process.exitCode = 1;
}
