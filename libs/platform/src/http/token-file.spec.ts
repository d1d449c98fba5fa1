import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadOrCreateToken } from './token-file.js';

describe('the token of a local API', () => {
  let directory: string;
  beforeEach(async () => (directory = await mkdtemp(join(tmpdir(), 'capstan-token-'))));
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('is made once, for the owner only', async () => {
    const file = join(directory, 'tokens', 'orchestrator.token');
    const token = await loadOrCreateToken(file);
    expect(token.length).toBeGreaterThan(40);
    expect(await loadOrCreateToken(file)).toBe(token);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('is not one that others can read, nor an empty one', async () => {
    const file = join(directory, 'token');
    await writeFile(file, 'a-token-for-tests-only', { mode: 0o644 });
    await expect(loadOrCreateToken(file)).rejects.toMatchObject({ code: 'token-open' });
    await rm(file);
    await writeFile(file, '\n', { mode: 0o600 });
    await expect(loadOrCreateToken(file)).rejects.toMatchObject({ code: 'token-short' });
  });
});
