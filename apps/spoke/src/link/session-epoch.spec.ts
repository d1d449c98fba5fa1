import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SessionEpochFile } from './session-epoch.js';

test('a disk that takes no epoch does not keep the spoke from its hub; the epoch still only grows', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'capstan-epoch-'));
  const file = join(dir, 'session-epoch');
  const epochs = new SessionEpochFile(file);
  await epochs.save(3n);
  expect(await new SessionEpochFile(file).load()).toBe(3n);
  await rm(dir, { recursive: true });
  await epochs.save(4n);
  expect(await epochs.load()).toBe(4n);
});

test('a file that holds no epoch is not taken for zero', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'capstan-epoch-'));
  await writeFile(join(dir, 'session-epoch'), 'seven');
  await expect(new SessionEpochFile(join(dir, 'session-epoch')).load()).rejects.toThrow('session-epoch-malformed');
  await rm(dir, { recursive: true });
});
