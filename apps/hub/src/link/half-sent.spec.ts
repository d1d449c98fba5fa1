import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { proves } from '../../../../test/support/proves.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { until } from '../../../../test/support/until.js';
import { TestHub } from '../../test/test-hub.js';
import { TestSpoke } from '../../test/test-spoke.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

const UPGRADE = [
  'GET /federation/link HTTP/1.1',
  'host: hub',
  'connection: upgrade',
  'upgrade: websocket',
  'sec-websocket-version: 13',
  'sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==',
  'sec-websocket-protocol: capstan.v1',
  '\r\n',
].join('\r\n');
/** A masked binary frame of 100 bytes, of which four come. */
const HALF_A_FRAME = Buffer.from([0x82, 0x80 | 100, 1, 2, 3, 4, 0x0a, 0x51, 0x0a, 0x06]);

const BODY = [
  'POST /api/v1/federation/enrollments/redeem HTTP/1.1',
  'host: hub',
  'content-type: application/json',
  'content-length: 100',
  '',
  '{"a',
].join('\r\n');

const HALVES: Record<string, (socket: Socket) => Promise<void>> = {
  header: (socket) => sent(socket, 'POST /api/v1/federation/agents/kill-all HTTP/1.1\r\nhost: hub\r\nx-ha'),
  body: (socket) => sent(socket, BODY),
  upgrade: (socket) => sent(socket, UPGRADE.slice(0, 60)),
  hello: async (socket) => {
    const answered = once(socket, 'data');
    await sent(socket, UPGRADE);
    expect(String((await answered)[0])).toContain('101 Switching Protocols');
    await sent(socket, HALF_A_FRAME);
  },
};

function sent(socket: Socket, bytes: string | Buffer): Promise<void> {
  return new Promise((resolve) => {
    socket.write(bytes, () => {
      resolve();
    });
  });
}

test(
  'a hub goes down although strangers have sent half of something, and its instances are told',
  proves('FED-19', async () => {
    await using hub = await TestHub.start(await postgres.freshDatabase());
    await using spoke = await TestSpoke.connected(hub, 'harbor');
    const { link } = spoke;
    const sockets: Socket[] = [];
    try {
      for (const send of Object.values(HALVES)) {
        const socket = connect(Number(new URL(hub.url).port), '127.0.0.1');
        sockets.push(socket);
        socket.on('error', () => undefined).resume();
        await once(socket, 'connect');
        await send(socket);
      }
      const closed = sockets.map((socket) => until('it was cut', () => socket.closed));
      await hub.stop();
      await Promise.all(closed);
      expect(await link?.closed).toMatchObject({ code: 'closed' });
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  }),
);
