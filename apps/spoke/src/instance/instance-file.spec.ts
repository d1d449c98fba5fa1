import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { linkUrl, moreLinkUrls, readInstanceFile } from './instance-file.js';

describe('instance.json', () => {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-instance-'));
  const file = join(directory, 'instance.json');
  afterAll(() => rmSync(directory, { recursive: true }));

  function write(hub: object): void {
    const instance = { version: 1, instanceId: 'quay', displayName: 'Quay', connectionId: 'c', hub };
    writeFileSync(file, JSON.stringify(instance));
  }

  it(
    'names the hub and its replicas, each of which is dialled, and none twice',
    proves('FED-19', async () => {
      const urls = ['https://two.example', 'https://one.example:7400/', 'http://127.0.0.1:7402'];
      write({ id: 'hub', url: 'https://one.example:7400', urls });
      const instance = await readInstanceFile(file);
      expect(linkUrl(instance)).toBe('wss://one.example:7400/federation/link');
      expect(moreLinkUrls(instance)).toEqual([
        'wss://two.example/federation/link',
        'ws://127.0.0.1:7402/federation/link',
      ]);
    }),
  );

  it('needs no replicas', async () => {
    write({ id: 'hub', url: 'http://127.0.0.1:7400' });
    expect(moreLinkUrls(await readInstanceFile(file))).toEqual([]);
  });

  it.each([
    ['is no list', 'https://two.example'],
    ['holds what is no text', [7400]],
    ['holds what is no http address', ['file:///etc/passwd']],
    ['holds what is no address', ['two.example']],
  ])('is refused where hub.urls %s', async (_what, urls) => {
    write({ id: 'hub', url: 'https://one.example', urls });
    await expect(readInstanceFile(file)).rejects.toMatchObject({ code: 'instance-malformed' });
  });
});
