import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { fromHex, LocalFault, toHex } from '@capstan/protocol';

const run = promisify(execFile);
const ENDORSE_MS = 15_000;

/** The reaper's public key and its signature over (instance id, identity key). */
export interface Endorsement {
  publicKey: Uint8Array;
  signature: Uint8Array;
}

/** Asks for the reaper's endorsement, and tells it which hub it may believe. */
export type Endorse = (
  dir: string,
  instanceId: string,
  identityKey: Uint8Array,
  hub: { id: string; key: Uint8Array; epoch: number },
) => Promise<Endorsement>;

/** Has the reaper's own program vouch for the spoke's key: the spoke never sees the reaper's. @throws LocalFault `reaper-endorsement` */
export const endorseByReaper: Endorse = async (dir, instanceId, identityKey, hub) => {
  const program = fileURLToPath(new URL('../../../orchestrator/src/reaper/endorse.js', import.meta.url));
  try {
    const { stdout } = await run(
      process.execPath,
      [program, dir, instanceId, toHex(identityKey), hub.id, toHex(hub.key), String(hub.epoch)],
      {
        timeout: ENDORSE_MS,
      },
    );
    const { publicKey, signature } = JSON.parse(stdout) as { publicKey: string; signature: string };
    return { publicKey: fromHex(publicKey), signature: fromHex(signature) };
  } catch (cause) {
    throw new LocalFault('reaper-endorsement', 'The reaper’s key could not be made or used.', program, { cause });
  }
};
