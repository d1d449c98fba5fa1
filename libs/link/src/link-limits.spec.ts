import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { WebSocket } from 'ws';
import { proves } from '../../../test/support/proves.js';
import { linked, stranger, TestHub, until } from '../test/peers.js';
import { addressGroup } from './address-cap.js';

/** The HTTP answer to an upgrade that was refused. */
async function refusal(hub: TestHub, protocol: string, headers: Record<string, string> = {}): Promise<string> {
  const ws = new WebSocket(hub.url, protocol, { headers, perMessageDeflate: false });
  const [error] = (await once(ws, 'error')) as [Error];
  return error.message;
}

async function rawUpgrade(hub: TestHub): Promise<Socket> {
  const socket = connect(hub.port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.setNoDelay();
  socket.write(
    [
      'GET /federation/link HTTP/1.1',
      'Host: hub',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
      'Sec-WebSocket-Protocol: capstan.v1',
      'Sec-WebSocket-Extensions: permessage-deflate',
      '\r\n',
    ].join('\r\n'),
  );
  return socket;
}

describe('before a peer has authenticated', () => {
  it(
    'a peer that says nothing is cut off in time',
    proves('SEC-05', async () => {
      await using hub = await TestHub.start({ limits: { authenticateMs: 100 } });
      await using ws = await stranger(hub);
      const began = performance.now();
      const [status, reason] = (await once(ws, 'close')) as [number, Buffer];
      expect([status, reason.toString()]).toEqual([4000, 'handshake-timeout']);
      expect(performance.now() - began).toBeLessThan(4_000);
    }),
  );

  it(
    'the time is five seconds, the frame 64 KiB, the address has 32 places',
    proves('SEC-05', async () => {
      const { LINK_LIMITS } = await import('./limits.js');
      expect(LINK_LIMITS).toMatchObject({
        authenticateMs: 5_000,
        frameBytes: 65_536,
        fragments: 16,
        bufferedChunks: 64,
        unauthenticatedPerAddress: 32,
      });
    }),
  );

  it(
    'a peer that stops in the middle of a frame is cut off in time',
    proves('SEC-05', async () => {
      await using hub = await TestHub.start({ limits: { authenticateMs: 100, closeMs: 100 } });
      const socket = await rawUpgrade(hub);
      await once(socket, 'data');
      socket.write(Buffer.from([0x82, 0xfe, 0xff, 0xff, 1, 2, 3, 4, 5]));
      await once(socket, 'close');
      expect(hub.refused).toEqual(['handshake-timeout']);
    }),
  );

  it(
    'a frame above 64 KiB is refused when its length is known',
    proves('SEC-05', async () => {
      await using hub = await TestHub.start();
      await using ws = await stranger(hub);
      ws.send(new Uint8Array(65_537));
      const [status] = (await once(ws, 'close')) as [number];
      expect(status).toBe(1009);
      expect(hub.refused).toEqual(['frame-too-large']);
    }),
  );

  it(
    'a frame in more than 16 fragments is refused',
    proves('SEC-05', async () => {
      await using hub = await TestHub.start();
      await using ws = await stranger(hub);
      for (let sent = 0; sent < 17; sent++) ws.send(new Uint8Array(1), { fin: false });
      await once(ws, 'close');
      expect(hub.refused).toEqual(['frame-too-large']);
    }),
  );

  it(
    'a frame that comes in more than 64 pieces is refused',
    proves('SEC-05', async () => {
      await using hub = await TestHub.start();
      const socket = await rawUpgrade(hub);
      await once(socket, 'data');
      socket.write(Buffer.from([0x82, 0xfe, 0xff, 0xff, 1, 2, 3, 4]));
      const drip = setInterval(() => socket.write('x'), 1);
      await once(socket, 'close');
      clearInterval(drip);
      expect(hub.refused).toEqual(['frame-too-large']);
    }),
  );

  it(
    'anything but the frame that is due ends the connection',
    proves('SEC-05', async () => {
      await using hub = await TestHub.start();
      for (const bytes of [Buffer.from([0x2a, 0x00]), Buffer.from('nonsense'), Buffer.alloc(0)]) {
        await using ws = await stranger(hub);
        ws.send(bytes);
        await once(ws, 'close');
      }
      await using ws = await stranger(hub);
      ws.send('text');
      await once(ws, 'close');
      expect(hub.refused).toEqual(Array(4).fill('frame-malformed'));
    }),
  );

  it(
    'one address has a bounded number of places, and gets them back',
    proves('SEC-05', async () => {
      await using hub = await TestHub.start({ limits: { unauthenticatedPerAddress: 3 } });
      const strangers = [await stranger(hub), await stranger(hub), await stranger(hub)];
      expect(await refusal(hub, 'capstan.v1')).toContain('503');
      expect(hub.refused).toEqual(['too-many-connections']);
      for (const ws of strangers) await ws[Symbol.asyncDispose]();
      await using spoke = hub.spoke();
      await linked(hub, spoke);
      // An authenticated link holds no place.
      for (let left = 3; left > 0; left--) strangers.push(await stranger(hub));
      for (const ws of strangers) await ws[Symbol.asyncDispose]();
    }),
  );

  it('no compression is agreed on, though it be offered', async () => {
    await using hub = await TestHub.start();
    const socket = await rawUpgrade(hub);
    const [head] = (await once(socket, 'data')) as [Buffer];
    expect(head.toString()).toContain('101 Switching Protocols');
    expect(head.toString().toLowerCase()).not.toContain('extensions');
    socket.destroy();
    await until(() => hub.refused.length === 1);
  });

  it('another subprotocol, or none, is answered with 400', async () => {
    await using hub = await TestHub.start();
    expect(await refusal(hub, 'capstan.v0')).toContain('400');
    expect(await refusal(hub, 'graphql-ws')).toContain('400');
    expect(hub.refused).toEqual(['handshake-version', 'handshake-version']);
  });

  it('a browser’s page is answered with 403', async () => {
    await using hub = await TestHub.start();
    expect(await refusal(hub, 'capstan.v1', { origin: 'https://example.org' })).toContain('403');
  });
});

describe('addresses are counted', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::6', '2001:db8:1:2'],
    ['2001:DB8::1', '2001:db8:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['::1', '0:0:0:0'],
    [undefined, 'local'],
  ])('%s as %s', (address, group) => expect(addressGroup(address)).toBe(group));
});

describe('a dialer', () => {
  it.each(['ws://hub.example:7400/federation/link', 'http://localhost:7400/', 'nonsense'])(
    'does not dial %s, which is neither TLS nor this machine',
    proves('FED-04', async () => {
      await using hub = await TestHub.start();
      expect(() => hub.spoke({ url: 'ws://hub.example:7400/federation/link' })).toThrow('wss://');
      expect(() => hub.spoke({ url: 'http://localhost/' })).toThrow('wss://');
      expect(() => hub.spoke({ url: 'nonsense' })).toThrow('wss://');
    }),
  );
});
