import { createHash, type X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { LocalFault } from '@capstan/protocol';

const PIN = /^[A-Za-z0-9_-]{43}$/;

/**
 * What a TLS server is known by: base64url of SHA-256 of its certificate's SubjectPublicKeyInfo (RFC 7469, 2.4). It
 * stays the same for as long as the key does, whoever signs the certificate and however often it is renewed.
 */
export function spkiPin(certificate: X509Certificate): string {
  const spki = certificate.publicKey.export({ format: 'der', type: 'spki' });
  return createHash('sha256').update(spki).digest('base64url');
}

/** @throws {LocalFault} `tls-pin-malformed` */
export function parsePin(text: string): string {
  if (!PIN.test(text)) throw new LocalFault('tls-pin-malformed', 'A TLS pin has 43 characters of base64url.');
  return text;
}

/**
 * Connects by TLS 1.3 to a server that holds the key of `pin`; no public CA is asked, nor name nor dates of the
 * certificate, since the key alone says who it is. Without a pin the certificate must be valid for the host as usual.
 *
 * Another key destroys the socket with LocalFault `tls-pin-mismatch` before a byte of what was written is encrypted:
 * `secureConnect` comes within the handshake's own callback, where Node checks a certificate itself.
 */
export function connectTls(options: ConnectionOptions, pin: string | undefined): TLSSocket {
  // An HTTP client's `path` is the URL's; tls would take it for a unix socket.
  const { path: _path, ...where } = options;
  const socket = connect({
    servername: serverName(options.host),
    ...where,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['http/1.1'],
    ...(pin === undefined ? {} : { rejectUnauthorized: false }),
  });
  if (pin !== undefined) {
    socket.prependOnceListener('secureConnect', () => {
      const certificate = socket.getPeerX509Certificate();
      if (certificate !== undefined && spkiPin(certificate) === pin) return;
      socket.destroy(new LocalFault('tls-pin-mismatch', 'The server’s TLS key is not the one that is pinned.'));
    });
  }
  return socket;
}

/** An IP address is no server name (RFC 6066, section 3). */
function serverName(host: string | undefined): string {
  return host === undefined || isIP(host) !== 0 ? '' : host;
}
