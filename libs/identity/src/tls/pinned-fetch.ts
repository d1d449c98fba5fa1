import { type Agent, request } from 'node:https';
import { Readable } from 'node:stream';
import { TlsAgent } from './tls-agent.js';

/** The part of `fetch` that our clients use. */
export interface FetchInit {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  signal?: AbortSignal;
}

export type Fetch = (url: URL, init?: FetchInit) => Promise<Response>;

/**
 * `fetch` for a server that is known by its TLS key (see `connectTls`); without a pin the platform's own. Redirects are
 * never followed: a token would travel with them.
 */
export function pinnedFetch(pin: string | undefined): Fetch {
  if (pin === undefined) return (url, init) => fetch(url, { ...init, redirect: 'error' });
  const agent = new TlsAgent({ pin });
  return (url, init) =>
    url.protocol === 'https:' ? overTls(agent, url, init) : fetch(url, { ...init, redirect: 'error' });
}

/** Built on node:https: the platform's fetch takes no connector without the package it is made from. */
function overTls(agent: Agent, url: URL, { method = 'GET', headers, body, signal }: FetchInit = {}): Promise<Response> {
  return new Promise((resolve, reject) => {
    const call = request(url, {
      agent,
      method,
      ...(headers === undefined ? {} : { headers }),
      ...(signal === undefined ? {} : { signal }),
    });
    call.once('error', reject);
    call.once('response', (answer) => {
      const status = answer.statusCode ?? 502;
      const fields = Object.entries(answer.headers).flatMap(([name, value]): [string, string][] =>
        value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value]],
      );
      const isEmpty = status === 204 || status === 304;
      if (isEmpty) answer.resume();
      resolve(
        new Response(isEmpty ? null : (Readable.toWeb(answer) as ReadableStream<Uint8Array>), {
          status,
          headers: fields,
        }),
      );
    });
    call.end(body);
  });
}
