import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LocalFault } from '@capstan/protocol';

/** Who an instance is, and whose it is, from its own directory. @throws {LocalFault} `instance-missing` */
export async function readIdentity(directory: string): Promise<{ instanceId: string; hubId: string }> {
  const file = join(directory, 'instance.json');
  try {
    const { instanceId, hub } = JSON.parse(await readFile(file, 'utf8')) as {
      instanceId?: unknown;
      hub?: { id?: unknown };
    };
    if (typeof instanceId !== 'string' || typeof hub?.id !== 'string') throw new TypeError('no instance');
    return { instanceId, hubId: hub.id };
  } catch (cause) {
    const sentence = 'This is not the directory of an instance that has joined a hub.';
    throw new LocalFault('instance-missing', sentence, file, { cause });
  }
}
