import { request } from 'node:http';

/** One request to an HTTP server on a unix socket. @returns status and body; rejects where nobody answers in time. */
export function requestOnSocket(options: {
  socketPath: string;
  method: 'GET' | 'POST';
  path: string;
  token?: string;
  /** JSON of a POST; an empty object by default. */
  body?: object;
  timeoutMs: number;
}): Promise<{ status: number; body: string }> {
  const { socketPath, method, path, token, body: sent = {}, timeoutMs } = options;
  const headers = {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
  };
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, method, path, headers, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.once('end', () => {
        resolve({ status: response.statusCode ?? 0, body });
      });
      response.once('error', reject);
    });
    call.once('error', reject);
    call.end(method === 'POST' ? JSON.stringify(sent) : undefined);
  });
}
