import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyRecord } from './key-record.js';
import { KeyRing } from './key-ring.js';
import { SigningKey } from './signing-key.js';
import { loadTrust, saveTrust } from './trust-file.js';

const hub = keyRecord('hub', SigningKey.generate().publicKey, ['link', 'command']);
const spoke = { ...keyRecord('quay', SigningKey.generate().publicKey, ['receipt']), epoch: 4, revokedAt: 17 };
const localFault = (code: string): unknown => expect.objectContaining({ name: 'LocalFault', code });

describe('a trust file', () => {
  let dir: string;
  let file: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'capstan-trust-'));
    file = join(dir, 'trust.json');
  });
  afterEach(() => rm(dir, { recursive: true }));

  it('gives back the keys that were saved, and replaces what was there', async () => {
    await saveTrust(file, new KeyRing([hub]));
    await saveTrust(file, new KeyRing([hub, spoke]));
    expect((await loadTrust(file)).records()).toEqual([hub, spoke]);
    expect(await readdir(dir)).toEqual(['trust.json']);
  });

  it('is refused when anybody could have added a key', async () => {
    await saveTrust(file, new KeyRing([hub]));
    await chmod(file, 0o646);
    await expect(loadTrust(file)).rejects.toThrow(localFault('trust-file-open') as Error);
  });

  it('is refused when it is missing', async () => {
    await expect(loadTrust(file)).rejects.toThrow(localFault('trust-file-missing') as Error);
  });

  it.each(['', 'null', '[]', '{"version":2,"keys":[]}', '{"version":1}', '{"version":1,"keys":[{}]}'])(
    'is refused when it holds %j',
    async (content) => {
      await writeFile(file, content);
      await expect(loadTrust(file)).rejects.toThrow(localFault('trust-file-malformed') as Error);
    },
  );
});
