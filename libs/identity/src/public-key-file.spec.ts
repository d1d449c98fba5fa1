import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toHex } from '@capstan/protocol';
import { readPublicKey } from './public-key-file.js';
import { SigningKey } from './signing-key.js';

describe('a file with a public key', () => {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-public-key-'));
  const file = join(directory, 'wharf.root.pub');
  afterAll(() => rmSync(directory, { recursive: true }));

  it('is missing, or holds none, or holds one: three answers', async () => {
    await expect(readPublicKey(file)).rejects.toMatchObject({ code: 'file-missing' });
    writeFileSync(file, 'not hex\n');
    await expect(readPublicKey(file)).rejects.toMatchObject({ code: 'public-key-malformed' });
    const { publicKey } = SigningKey.generate();
    writeFileSync(file, `${toHex(publicKey)}\n`);
    expect(toHex(await readPublicKey(file))).toBe(toHex(publicKey));
  });
});
