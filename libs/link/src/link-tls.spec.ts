import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { spkiPin } from '@capstan/identity';
import { proves } from '../../../test/support/proves.js';
import { type ServerCertificate, TestAuthority } from '../../../test/support/certificate.js';
import { envelopeMessage, linked, payloadOf, TestHub, until } from '../test/peers.js';

let authority: TestAuthority;
let certificate: ServerCertificate;

beforeAll(async () => {
  authority = await TestAuthority.make();
  certificate = await authority.certify();
});

const pinOf = ({ cert }: ServerCertificate): string => spkiPin(new X509Certificate(cert));

/** A man in the middle who ends TLS with a certificate of his own and passes on every byte. */
async function terminator(hub: TestHub, own: ServerCertificate): Promise<AsyncDisposable & { url: string }> {
  const sockets = new Set<TLSSocket>();
  const server = createTlsServer(own, (near) => {
    const far = connect({ port: hub.port, host: '127.0.0.1', rejectUnauthorized: false });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
      from.pipe(to);
    }
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `wss://127.0.0.1:${String((server.address() as AddressInfo).port)}/federation/link`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

describe('a link over TLS', () => {
  it(
    'needs no public CA where the hub’s TLS key is pinned',
    proves('FED-04', async () => {
      await using hub = await TestHub.start({ certificate });
      await using spoke = hub.spoke({ tls: { pin: pinOf(certificate), ends: 'hub' } });
      const { hubEnd, spokeEnd } = await linked(hub, spoke);
      hubEnd.start();
      const heard: Uint8Array[] = [];
      spokeEnd.onMessage = (_lane, message) => heard.push(payloadOf(message));
      spokeEnd.start();
      await hubEnd.send('commands', envelopeMessage(Buffer.from('over TLS')));
      expect(Buffer.from(await until(() => heard[0])).toString()).toBe('over TLS');
    }),
  );

  it('takes a certificate that a trusted CA has signed, without a pin', async () => {
    await using hub = await TestHub.start({ certificate });
    await using spoke = hub.spoke({ tls: { ca: authority.pem, ends: 'hub' } });
    await linked(hub, spoke);
    await using doubting = hub.spoke();
    expect(await until(() => doubting.waits[0])).toContain('instance-away');
    expect(doubting.links).toEqual([]);
  });

  it(
    'is refused before a byte is said where the server holds another key than the pinned one',
    proves('FED-04', async () => {
      await using hub = await TestHub.start({ certificate });
      const another = await authority.certify();
      await using spoke = hub.spoke({ tls: { pin: pinOf(another), ca: authority.pem, ends: 'hub' } });
      expect(await until(() => spoke.waits[0])).toContain('handshake-signature');
      expect([hub.links, hub.refused]).toEqual([[], []]);
    }),
  );

  it(
    'shows a man in the middle who has a certificate that the spoke trusts',
    proves('FED-04', async () => {
      await using hub = await TestHub.start({ certificate });
      await using middle = await terminator(hub, await authority.certify());
      await using spoke = hub.spoke({ url: middle.url, tls: { ca: authority.pem, ends: 'hub' } });
      expect(await until(() => spoke.waits[0])).toContain('handshake-signature');
      expect([hub.links, spoke.links]).toEqual([[], []]);
    }),
  );

  it('shows him to the hub too, if the spoke binds nothing', async () => {
    await using hub = await TestHub.start({ certificate });
    await using middle = await terminator(hub, await authority.certify());
    await using spoke = hub.spoke({ url: middle.url, tls: { ca: authority.pem, ends: 'proxy' } });
    expect(await until(() => spoke.waits[0])).toContain('handshake-signature');
    expect(hub.links).toEqual([]);
  });

  it('may pass a proxy that ends TLS where both sides were told so', async () => {
    await using hub = await TestHub.start({ certificate, tlsEnds: 'proxy' });
    const own = await authority.certify();
    await using proxy = await terminator(hub, own);
    await using spoke = hub.spoke({ url: proxy.url, tls: { pin: pinOf(own), ends: 'proxy' } });
    await linked(hub, spoke);
  });

  it('is not made below TLS 1.3', async () => {
    await using hub = await TestHub.start({
      certificate: { ...certificate, maxVersion: 'TLSv1.2' },
      tlsEnds: 'proxy',
    });
    await using spoke = hub.spoke({ tls: { pin: pinOf(certificate), ends: 'proxy' } });
    expect(await until(() => spoke.waits[0] ?? (spoke.links.length > 0 ? 'a link' : undefined))).toContain(
      'instance-away',
    );
    expect(hub.links).toEqual([]);
  });
});
