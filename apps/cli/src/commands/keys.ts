import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { SigningKey } from '@capstan/identity';
import { OwnerClient } from '@capstan/localmesh';
import { faultSentence, toHex } from '@capstan/protocol';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { runSpokeProgram } from '../spoke-program.js';

interface Overlap {
  overlap?: number;
}

/**
 * Has the spoke of the instance in `dir` put another key in the place of its own.
 *
 * @throws HubProblem; LocalFault `spoke-unreachable`
 */
export async function rotateSpokeKey(output: Output, dir: string, { overlap }: Overlap): Promise<void> {
  const key = await new OwnerClient(resolve(dir)).rotateKey(overlap === undefined ? {} : { overlapMs: overlap });
  const { instanceId, keyId, oldUntil, answer } = key;
  const said = {
    taken: `${instanceId} signs with ${keyId}; the key before is believed until ${oldUntil ?? 'now'}.`,
    waiting: `The hub has not answered yet; until it does, ${instanceId} signs with ${keyId}.`,
    refused: `The hub refuses: ${'code' in answer ? faultSentence(answer.code) : ''}`,
  }[answer.is];
  output.result('own-key', { key }, [said]);
}

/** Has the hub put another key in the place of its own. @throws HubProblem */
export async function rotateHubKey(output: Output, options: Overlap & { context?: string }): Promise<void> {
  const { client } = await openContext(options);
  const key = await client.rotateKey(options.overlap === undefined ? {} : { overlapMs: options.overlap });
  output.result('hub-key', { key }, [
    `The hub signs with ${key.keyId}; the key before, ${key.oldKeyId}, is believed until ${key.oldUntil}.`,
  ]);
}

/** Makes a root key in a new file, and its public half beside it. @throws LocalFault `key-file-exists` */
export async function createRootKey(output: Output, file: string): Promise<void> {
  const path = resolve(file);
  const { keyId, publicKey } = await SigningKey.create(path);
  await writeFile(`${path}.pub`, `${toHex(publicKey)}\n`, { mode: 0o644 });
  output.result('root-key', { file: path, publicKeyFile: `${path}.pub`, keyId }, [
    `${path} is the root key: keep it away from every machine that is on a network.`,
    `To have its recoveries followed where you verify: npx capstan root-key pin ${path}.pub --of INSTANCE`,
    `To name it when an instance joins: npx capstan spoke join INVITATION --dir DIRECTORY --root-key ${path}.pub`,
  ]);
}

/** Puts a new identity key in the place of a lost one, by the root key. @throws LocalFault the spoke's own, `recovery-failed` */
export async function recoverSpokeKey(output: Output, dir: string, rootKeyFile: string): Promise<void> {
  const directory = resolve(dir);
  const failed = { code: 'recovery-failed', sentence: 'The identity key could not be replaced.' };
  const said = await runSpokeProgram('recover', [directory, resolve(rootKeyFile)], failed);
  const { instanceId, keyId, epoch } = said as { instanceId: string; keyId: string; epoch: number };
  output.result('recovered', { instance: instanceId, directory, keyId, epoch }, [
    `${instanceId} has another identity key, ${keyId}; the one before is revoked.`,
    'A spoke that does not run must be started with it; one that runs takes it up by itself.',
  ]);
}
