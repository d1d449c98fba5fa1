import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { handshakePae, SigningKey } from '@capstan/identity';
import { toHex } from '@capstan/protocol';
import { makeCertificate } from '../../../../test/support/certificate.js';
import { proves } from '../../../../test/support/proves.js';
import { readInstanceFile, writeInstanceFile } from '../instance/instance-file.js';
import { parseInvite } from './invite.js';
import { joinHub } from './join-hub.js';

const tlsPin = 'A'.repeat(43);
const reaper = SigningKey.generate();
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cs-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

function invite(change: object): string {
  const content = {
    url: 'https://hub.example:7400',
    hubId: 'hub',
    hubKey: toHex(SigningKey.generate().publicKey),
    secret: Buffer.alloc(32, 7).toString('base64url'),
    expiresAt: new Date(Date.now() + 60_000).toISOString(),
    ...change,
  };
  return `capstan-invite-v1.${Buffer.from(JSON.stringify(content)).toString('base64url')}`;
}

test(
  'a server that holds another TLS key than the invitation pins never sees the secret',
  proves('FED-02', async () => {
    const asked: string[] = [];
    const server = createServer(await makeCertificate(), (request, response) => {
      asked.push(request.url ?? '');
      response.end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `https://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    const joining = joinHub({
      dir: join(dir, 'harbor'),
      invite: invite({ url, tlsPin, tlsEnds: 'hub' }),
      instanceId: 'harbor',
      endorse: (_dir, instanceId, key) => {
        const signature = reaper.sign(handshakePae('capstan.v1.reaper-endorse', Buffer.from(instanceId), key));
        return Promise.resolve({ publicKey: reaper.publicKey, signature });
      },
    });
    await expect(joining).rejects.toMatchObject({ code: 'tls-pin-mismatch' });
    expect(asked).toEqual([]);
    expect(existsSync(join(dir, 'harbor', 'instance.json'))).toBe(false);
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }),
);

test('an invitation tells what the hub’s TLS must be, and nothing malformed passes', () => {
  expect(parseInvite(invite({ tlsPin, tlsEnds: 'hub' }), Date.now()).tls).toEqual({ pin: tlsPin, ends: 'hub' });
  expect(parseInvite(invite({}), Date.now()).tls).toEqual({ ends: 'proxy' });
  for (const change of [{ tlsPin: 'short' }, { tlsPin: 7 }, { tlsEnds: 'middle' }]) {
    expect(() => parseInvite(invite(change), Date.now())).toThrow('invite-malformed');
  }
});

test('the instance keeps it', async () => {
  const file = join(dir, 'instance.json');
  const hub = { id: 'hub', url: 'https://hub.example:7400', tls: { pin: tlsPin, ends: 'hub' as const } };
  const instance = { version: 1 as const, instanceId: 'harbor', displayName: 'harbor', hub, connectionId: 'c' };
  await writeInstanceFile(file, instance);
  expect(await readInstanceFile(file)).toEqual(instance);
});
