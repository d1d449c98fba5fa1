import { resolve } from 'node:path';
import { LocalFault, WireFault } from '@capstan/protocol';
import { recoverKey } from './keys/recover-key.js';

/** `recover.js DIRECTORY ROOT-KEY-FILE`: a new identity key by the owner's root key. Prints {instanceId, keyId, epoch}. */
try {
  const [directory, rootKeyFile] = process.argv.slice(2);
  if (directory === undefined || rootKeyFile === undefined)
    throw new LocalFault('usage', 'Usage: recover.js DIRECTORY ROOT-KEY-FILE');
  const recovered = await recoverKey({ dir: resolve(directory), rootKeyFile: resolve(rootKeyFile) });
  process.stdout.write(`${JSON.stringify(recovered)}\n`);
} catch (error) {
  const isOurs = error instanceof LocalFault || error instanceof WireFault;
  process.stderr.write(`${isOurs ? `${error.sentence} (${error.code})` : String(error)}\n`);
  process.exitCode = 1;
}
