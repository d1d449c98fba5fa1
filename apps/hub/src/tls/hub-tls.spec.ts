import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { spkiPin } from '@capstan/identity';
import { TestAuthority } from '../../../../test/support/certificate.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { proves } from '../../../../test/support/proves.js';
import { TestHub } from '../../test/test-hub.js';
import { readInvite, TestSpoke } from '../../test/test-spoke.js';
import { ownMaterial } from './certificate-files.js';
import { TlsRenewal } from './tls.renewal.js';
import type { TlsSettings } from './tls-settings.js';

jest.setTimeout(60_000);

const DAY_MS = 86_400_000;
const AUTO: TlsSettings = { source: 'auto', ends: 'hub', pin: 'own' };
let postgres: TestPostgres;
let directory: string;

beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(async () => {
  await postgres.stop();
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'capstan-tls-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** What a new connection is shown. */
async function shown(hub: TestHub): Promise<X509Certificate | undefined> {
  const { port } = new URL(hub.url);
  const socket = connect({ port: Number(port), host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const certificate = socket.getPeerX509Certificate();
  socket.destroy();
  return certificate;
}

test(
  'a hub makes its own certificate; its invitations pin the key, and the API and links go over TLS',
  proves('FED-04', async () => {
    await using hub = await TestHub.start(await postgres.freshDatabase(), undefined, AUTO);
    expect((await stat(join(hub.stateDirectory, 'tls', 'key.pem'))).mode & 0o777).toBe(0o600);
    const { body } = await hub.post<{ invite: string }>('enrollments', { autoApprove: true });
    const invite = readInvite(body.invite);
    expect(invite).toMatchObject({ url: hub.url, tlsPin: hub.tlsPin, tlsEnds: 'hub' });
    expect(invite.url).toMatch(/^https:/);
    await using spoke = await TestSpoke.connected(hub, 'harbor');
    expect(spoke.link?.peerId).toBe('hub');
  }),
);

test(
  'the certificate is renewed with the same key while the hub runs, and open links live on',
  proves('FED-04', async () => {
    await using hub = await TestHub.start(await postgres.freshDatabase(), undefined, AUTO);
    await using spoke = await TestSpoke.connected(hub, 'quay');
    const before = await shown(hub);
    const renewal = hub.app.get(TlsRenewal, { strict: false });
    await renewal.check(Date.now() + 300 * DAY_MS);
    expect((await shown(hub))?.serialNumber).toBe(before?.serialNumber);
    await renewal.check(Date.now() + 340 * DAY_MS);
    const after = await shown(hub);
    expect(after?.serialNumber).not.toBe(before?.serialNumber);
    expect(after?.validToDate.getTime()).toBeGreaterThan(Date.now() + 700 * DAY_MS);
    expect(after === undefined ? '' : spkiPin(after)).toBe(hub.tlsPin);
    expect((await hub.get('connections')).status).toBe(200);
    expect(spoke.link?.stats.faultyFrames).toBe(0);
    await spoke.disconnect();
    await spoke.connect();
  }),
);

test('key and certificate stay over a restart; another name makes another certificate of the same key', async () => {
  const first = await ownMaterial(directory, ['localhost', '127.0.0.1'], Date.now());
  const again = await ownMaterial(directory, ['localhost', '127.0.0.1'], Date.now());
  expect(again.cert).toBe(first.cert);
  const renamed = await ownMaterial(directory, ['hub.example', '127.0.0.1'], Date.now());
  expect(renamed.leaf.checkHost('hub.example')).toBe('hub.example');
  expect(renamed.leaf.checkIP('127.0.0.1')).toBe('127.0.0.1');
  expect(spkiPin(renamed.leaf)).toBe(spkiPin(first.leaf));
  await writeFile(join(directory, 'cert.pem'), 'not a certificate');
  await expect(ownMaterial(directory, [], Date.now())).rejects.toThrow('tls-material');
});

test('a given certificate is served, and what replaces it is taken over, unless pins would break', async () => {
  const authority = await TestAuthority.make();
  const [given, other] = [await authority.certify(), await authority.certify()];
  const source = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
  const lay = async ({ cert, key }: { cert: string; key: string }): Promise<void> => {
    await writeFile(source.cert, cert);
    await writeFile(source.key, key);
  };
  await lay(given);
  for (const [pin, taken] of [
    ['own', given],
    ['none', other],
  ] as const) {
    await lay(given);
    await using hub = await TestHub.start(await postgres.freshDatabase(), undefined, { source, ends: 'hub', pin });
    expect(hub.tlsPin).toBe(pin === 'own' ? spkiPin(new X509Certificate(given.cert)) : undefined);
    await lay(other);
    await hub.app.get(TlsRenewal, { strict: false }).check(Date.now());
    expect((await shown(hub))?.serialNumber).toBe(new X509Certificate(taken.cert).serialNumber);
  }
  await writeFile(source.key, given.key);
  await expect(TestHub.start('', directory, { source, ends: 'hub', pin: 'own' })).rejects.toThrow('another key');
  expect(await readFile(source.cert, 'utf8')).toBe(other.cert);
});
