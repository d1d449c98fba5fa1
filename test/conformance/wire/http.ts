import { createHash } from 'node:crypto';
import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { TLSSocket } from 'node:tls';

export interface Answer {
  status: number;
  body: Record<string, unknown>;
}

export interface Call {
  method?: string;
  body?: unknown;
  token?: string;
  /** The pinned key of the server; then no CA is asked. */
  tlsPin?: string;
}

/** One request, JSON both ways. @throws Error where the server has another key than the pinned one */
export async function ask(url: string, call: Call = {}): Promise<Answer> {
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  const headers = {
    accept: 'application/json',
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(call.token === undefined ? {} : { authorization: `Bearer ${call.token}` }),
  };
  const method = call.method ?? (body === undefined ? 'GET' : 'POST');
  const options = { method, headers, agent: false, timeout: 30_000, rejectUnauthorized: call.tlsPin === undefined };
  const request = (url.startsWith('https:') ? httpsRequest : httpRequest)(url, options);
  if (call.tlsPin !== undefined) demandPin(request, call.tlsPin);
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
    request.once('timeout', () => request.destroy(new Error('no answer within 30 s')));
  });
  request.end(body);
  const response = await answered;
  const said = await text(response);
  return { status: response.statusCode ?? 0, body: read(said) };
}

/** An object, or `{list}`, or `{said}` where it is no JSON. */
function read(said: string): Answer['body'] {
  if (said.startsWith('{')) return JSON.parse(said) as Answer['body'];
  return said.startsWith('[') ? { list: JSON.parse(said) as unknown } : { said };
}

/** Cuts the connection before a byte is sent to another key than the pinned one. */
export function demandPin(request: ClientRequest, pin: string): void {
  request.once('socket', (socket) => {
    socket.once('secureConnect', () => {
      if (socket instanceof TLSSocket && pinOf(socket) === pin) return;
      request.destroy(new Error('the server has another TLS key than the one that was pinned'));
    });
  });
}

function pinOf(socket: TLSSocket): string | undefined {
  const spki = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' });
  return spki === undefined ? undefined : createHash('sha256').update(spki).digest('base64url');
}
