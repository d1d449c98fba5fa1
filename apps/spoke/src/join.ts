import { basename, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { readPublicKey } from '@capstan/identity';
import { LocalFault, WireFault } from '@capstan/protocol';
import { joinHub } from './enrollment/join-hub.js';

/**
 * `join.js DIRECTORY INVITE [INSTANCE-ID] [--again] [--root-key FILE.pub]`: enrols the instance in DIRECTORY, named after it unless told, with
 * the hub that the invitation names. Prints one JSON object: {instanceId, hub, connectionId, state}.
 */
try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { again: { type: 'boolean', default: false }, 'root-key': { type: 'string' } },
  });
  const [directory, invite, name] = positionals;
  if (directory === undefined || invite === undefined) {
    throw new LocalFault('usage', 'Usage: join.js DIRECTORY INVITE [INSTANCE-ID] [--again] [--root-key FILE.pub]');
  }
  const dir = resolve(directory);
  const isAgain = values.again;
  const rootKeyFile = values['root-key'];
  const rootKey = rootKeyFile === undefined ? {} : { rootKey: await readPublicKey(resolve(rootKeyFile)) };
  const { instance, state } = await joinHub({ dir, invite, instanceId: name ?? basename(dir), isAgain, ...rootKey });
  const { instanceId, hub, connectionId } = instance;
  process.stdout.write(`${JSON.stringify({ instanceId, hub, connectionId, state })}\n`);
} catch (error) {
  const isOurs = error instanceof LocalFault || error instanceof WireFault;
  process.stderr.write(`${isOurs ? `${error.sentence} (${error.code})` : String(error)}\n`);
  process.exitCode = 1;
}
