import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyRecord, KeyRing, saveTrust, SigningKey } from '@capstan/identity';
import { loadHubPin, pinHub } from './hub-pin.js';

describe("the reaper's pinned hub key", () => {
  let directory: string;
  const hub = SigningKey.generate();
  const stranger = SigningKey.generate();
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'capstan-pin-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const trust = (key: SigningKey) =>
    saveTrust(
      join(directory, 'trust.json'),
      new KeyRing([keyRecord('hub', key.publicKey, ['link', 'command', 'lease'])]),
    );
  const pinned = async () => (await loadHubPin(directory)).records().map(({ keyId, purposes }) => [keyId, purposes]);

  it('is what was pinned at joining, for leases only', async () => {
    await pinHub(directory, 'hub', hub.publicKey);
    await trust(stranger);
    expect(await pinned()).toEqual([[hub.keyId, ['lease']]]);
  });

  it('is taken from the trust file once, where the instance joined before there was one', async () => {
    await trust(hub);
    expect(await pinned()).toEqual([[hub.keyId, ['lease']]]);
    await trust(stranger);
    expect(await pinned()).toEqual([[hub.keyId, ['lease']]]);
  });

  it('is nobody where nothing was pinned', async () => {
    expect(await pinned()).toEqual([]);
  });

  it('is refused where somebody else could have written it', async () => {
    await pinHub(directory, 'hub', hub.publicKey);
    await chmod(join(directory, 'reaper', 'hub.json'), 0o664);
    await expect(loadHubPin(directory)).rejects.toMatchObject({ code: 'hub-pin-open' });
    await chmod(join(directory, 'reaper', 'hub.json'), 0o644);
    await chmod(join(directory, 'reaper'), 0o777);
    await expect(loadHubPin(directory)).rejects.toMatchObject({ code: 'hub-pin-open' });
  });

  const isRoot = process.geteuid?.() === 0;
  (isRoot ? it : it.skip)('is refused where it belongs to another user', async () => {
    await mkdir(join(directory, 'reaper'), { recursive: true, mode: 0o700 });
    await pinHub(directory, 'hub', hub.publicKey);
    execFileSync('chown', ['234571', join(directory, 'reaper', 'hub.json')]);
    await expect(loadHubPin(directory)).rejects.toMatchObject({ code: 'hub-pin-open' });
    expect(await readFile(join(directory, 'reaper', 'hub.json'), 'utf8')).toContain(hub.keyId);
  });
});
