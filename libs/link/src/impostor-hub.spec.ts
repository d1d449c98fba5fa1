import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { keyRecord, KeyRing, SigningKey } from '@capstan/identity';
import { ChallengeSchema, create, FarewellSchema } from '@capstan/protocol';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { proves } from '../../../test/support/proves.js';
import { TestSpoke, until } from '../test/peers.js';
import { decodeFrame, encodeFrame } from './frames.js';

describe('an impostor that stands where the hub should', () => {
  it(
    'cannot tell the spoke that its key was revoked: only a hub that has proven its own is heard',
    proves('FED-12', async () => {
      const hubKey = SigningKey.generate();
      const server = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: () => 'capstan.v1' });
      await once(server, 'listening');
      const refused: string[] = [];
      await using spoke = new TestSpoke({
        url: `ws://127.0.0.1:${String((server.address() as AddressInfo).port)}/federation/link`,
        instanceId: 'harbor',
        key: SigningKey.generate(),
        hub: { id: 'hub', keys: new KeyRing([keyRecord('hub', hubKey.publicKey, ['link'])]) },
        onRefused: (code) => refused.push(code),
      });
      const [ws] = (await once(server, 'connection')) as [WebSocket];
      await once(ws, 'message');
      const farewell = create(FarewellSchema, { code: 'key-revoked', sentence: 'It was revoked.' });
      ws.send(encodeFrame({ case: 'farewell', value: farewell }));
      expect(await until(() => spoke.waits[0])).toContain('key-revoked');
      expect(refused).toEqual([]);
      await spoke.dialer.close();
      for (const client of server.clients) client.terminate();
      server.close();
      await once(server, 'close');
    }),
  );

  it(
    'with the pinned key’s name and another key gets no proof from the spoke',
    proves('FED-04', async () => {
      const hubKey = SigningKey.generate();
      const server = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: () => 'capstan.v1' });
      await once(server, 'listening');
      await using spoke = new TestSpoke({
        url: `ws://127.0.0.1:${String((server.address() as AddressInfo).port)}/federation/link`,
        instanceId: 'harbor',
        key: SigningKey.generate(),
        hub: { id: 'hub', keys: new KeyRing([keyRecord('hub', hubKey.publicKey, ['link'])]) },
      });
      const [ws] = (await once(server, 'connection')) as [WebSocket];
      await once(ws, 'message');
      const signature = SigningKey.generate().sign(randomBytes(32));
      const challenge = { hubId: 'hub', keyId: hubKey.keyId, nonce: randomBytes(32), version: 1, signature };
      ws.send(encodeFrame({ case: 'challenge', value: create(ChallengeSchema, challenge) }));
      const [answer] = (await once(ws, 'message')) as [RawData];
      expect(decodeFrame(answer as Buffer)).toMatchObject({ case: 'farewell', value: { code: 'handshake-signature' } });
      await spoke.dialer.close();
      for (const client of server.clients) client.terminate();
      server.close();
      await once(server, 'close');
    }),
  );
});
