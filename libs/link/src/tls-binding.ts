import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { WireFault } from '@capstan/protocol';

const LABEL = 'EXPORTER-capstan-v1';
const BYTES = 32;

/**
 * What only the two ends of this TLS connection know (RFC 8446, 7.5); undefined where there is no TLS. In the signed
 * transcript it shows whoever ends TLS in the middle, whatever certificate he has.
 *
 * @throws WireFault handshake-signature below TLS 1.3, whose exporter a man in the middle could share (RFC 7627)
 */
export function tlsBinding(stream: Duplex): Uint8Array | undefined {
  if (!(stream instanceof TLSSocket)) return undefined;
  if (stream.getProtocol() !== 'TLSv1.3') throw new WireFault('handshake-signature', 'TLS below 1.3');
  return new Uint8Array(stream.exportKeyingMaterial(BYTES, LABEL, Buffer.alloc(0)));
}
