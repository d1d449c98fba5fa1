import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { keyRecord, KeyRing } from '@capstan/identity';
import { fromHex, toHex } from '@capstan/protocol';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { proves } from '../../../test/support/proves.js';
import { stranger, TestHub, TestSpoke, until } from '../test/peers.js';
import { keyOf, listen, type RecordedSession } from '../test/recorded-session.js';
import { decodeFrame } from './frames.js';

/** Of every version that was ever released; these files are never written again. */
const SESSIONS = [1].map((version) => {
  const file = join(process.cwd(), `proto/vectors/session-${String(version)}.json`);
  return JSON.parse(readFileSync(file, 'utf8')) as RecordedSession;
});

/** What comes over a WebSocket, frame by frame. */
function inbox(ws: WebSocket): () => Promise<Uint8Array> {
  const frames: Uint8Array[] = [];
  ws.on('message', (data: RawData) => frames.push(data as Buffer));
  return () => until(() => frames.shift());
}

describe.each(SESSIONS)('a session of protocol $protocol that was recorded when it was new', (session) => {
  const caseOf = (bytes: string): string => decodeFrame(fromHex(bytes)).case;

  it(
    'is understood by today’s hub, byte for byte in the handshake',
    proves('FED-20', async () => {
      const terms = { nonce: () => fromHex(session.hub.nonce) };
      const limits = { heartbeatMs: 5_000, deadAfterMs: 15_000 };
      await using hub = await TestHub.start({ terms, limits, spokeKey: keyOf(session.spoke) }, 0, keyOf(session.hub));
      await using ws = await stranger(hub);
      const next = inbox(ws);
      let heard: ReturnType<typeof listen> | undefined;
      for (const { from, bytes } of session.frames) {
        if (from === 'spoke') ws.send(fromHex(bytes));
        else if (caseOf(bytes) === 'challenge') expect(toHex(await next())).toBe(bytes);
        else if (caseOf(bytes) === 'welcome') {
          expect(decodeFrame(await next()).case).toBe('welcome');
          heard = listen(await until(() => hub.links[0]));
        }
      }
      await until(() => heard !== undefined && heard.end !== '');
      expect(hub.links[0]?.version).toBe(session.protocol);
      expect(heard).toEqual(session.heard.hub);
    }),
  );

  it(
    'is understood by today’s spoke, byte for byte in the handshake',
    proves('FED-20', async () => {
      const server = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: () => 'capstan.v1' });
      await once(server, 'listening');
      const key = keyOf(session.hub);
      await using spoke = new TestSpoke({
        url: `ws://127.0.0.1:${String((server.address() as AddressInfo).port)}/federation/link`,
        instanceId: session.spoke.id,
        key: keyOf(session.spoke),
        hub: { id: session.hub.id, keys: new KeyRing([keyRecord(session.hub.id, key.publicKey, ['link'])]) },
        // Of its versions only this one: a Hello that offers more has other bytes.
        terms: { versions: [session.protocol], nonce: () => fromHex(session.spoke.nonce) },
      });
      const [ws] = (await once(server, 'connection')) as [WebSocket];
      const next = inbox(ws);
      let heard: ReturnType<typeof listen> | undefined;
      for (const { from, bytes } of session.frames) {
        if (from === 'hub') {
          ws.send(fromHex(bytes));
          if (caseOf(bytes) === 'welcome') heard = listen(await until(() => spoke.links[0]));
        } else if (['hello', 'proof'].includes(caseOf(bytes))) expect(toHex(await next())).toBe(bytes);
      }
      const { messages, heartbeats } = session.heard.spoke;
      await until(() => heard?.heartbeats.length === heartbeats.length && heard.messages.commands?.length === 2);
      await until(() => heard?.messages.events?.length === 1);
      expect(heard?.messages).toEqual(messages);
      expect(heard?.heartbeats).toEqual(heartbeats);
      expect(spoke.links[0]?.version).toBe(session.protocol);
      await spoke.dialer.close();
      for (const client of server.clients) client.terminate();
      server.close();
      await once(server, 'close');
    }),
  );
});
