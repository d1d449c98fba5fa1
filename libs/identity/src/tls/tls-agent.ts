import { Agent } from 'node:https';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { connectTls } from './tls-pin.js';

/** For https requests and WebSockets to a server that is known by its TLS key; see `connectTls`. */
export class TlsAgent extends Agent {
  /** @param trust `pin` of the key; or `ca`, CAs to trust instead of the platform's, PEM */
  constructor(private readonly trust: { pin?: string | undefined; ca?: string | undefined }) {
    // A resumed session would bring the certificate from memory, not from the server.
    super({ maxCachedSessions: 0 });
  }

  override createConnection(options: ConnectionOptions): TLSSocket {
    const { pin, ca } = this.trust;
    return connectTls(ca === undefined ? options : { ...options, ca }, pin);
  }
}
