import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The rooms of an instance's directory, and its orchestrator's token. */
export async function joinDirs(dir: string, token: string): Promise<void> {
  for (const room of ['run', 'audit', 'tokens']) await mkdir(join(dir, room), { mode: 0o700 });
  await writeFile(join(dir, 'tokens', 'orchestrator.token'), `${token}\n`, { mode: 0o600 });
}
