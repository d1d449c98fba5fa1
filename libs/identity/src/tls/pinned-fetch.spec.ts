import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { makeCertificate } from '../../../../test/support/certificate.js';
import { parsePin, pinnedFetch, spkiPin } from './index.js';

let server: Server;
let url: URL;
let pin: string;
let asked: { request: IncomingMessage; body: string }[];

beforeAll(async () => {
  const certificate = await makeCertificate();
  pin = spkiPin(new X509Certificate(certificate.cert));
  server = createServer(certificate, (request, response) => {
    void text(request).then((body) => {
      asked.push({ request, body });
      if (request.url === '/elsewhere') response.writeHead(302, { location: '/' }).end();
      else if (request.url === '/nothing') response.writeHead(204).end();
      else response.writeHead(201, { 'content-type': 'application/json', 'x-many': ['a', 'b'] }).end('{"a":1}');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = new URL(`https://127.0.0.1:${String((server.address() as AddressInfo).port)}/some?q=1`);
});
beforeEach(() => {
  asked = [];
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

test('a server that holds the pinned key is spoken to like any other', async () => {
  const fetchIt = pinnedFetch(pin);
  const answer = await fetchIt(url, { method: 'POST', headers: { authorization: 'Bearer t' }, body: '{"b":2}' });
  expect([answer.status, answer.ok, answer.headers.get('x-many')]).toEqual([201, true, 'a, b']);
  expect(await answer.json()).toEqual({ a: 1 });
  expect(asked[0]).toMatchObject({ body: '{"b":2}', request: { method: 'POST', url: '/some?q=1' } });
  expect(asked[0]?.request.headers.authorization).toBe('Bearer t');
  expect((await fetchIt(new URL('/nothing', url))).status).toBe(204);
});

test('a server that holds another key never sees the request', async () => {
  const wrong = 'A'.repeat(43);
  const asking = pinnedFetch(wrong)(url, { headers: { authorization: 'Bearer secret' } });
  await expect(asking).rejects.toMatchObject({ code: 'tls-pin-mismatch' });
  // Whatever was sent before would have come by now: this request goes the same way after it.
  await (await pinnedFetch(pin)(url)).text();
  expect(asked).toHaveLength(1);
  expect(asked[0]?.request.headers.authorization).toBeUndefined();
});

test('no redirect is followed, and a request may be given up', async () => {
  expect((await pinnedFetch(pin)(new URL('/elsewhere', url))).status).toBe(302);
  await expect(pinnedFetch(pin)(url, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
});

test('a pin is 43 characters of base64url and nothing else', () => {
  expect(parsePin(pin)).toBe(pin);
  for (const text of ['', pin.slice(1), `${pin}=`, '*'.repeat(43)]) {
    expect(() => parsePin(text)).toThrow('tls-pin-malformed');
  }
});
