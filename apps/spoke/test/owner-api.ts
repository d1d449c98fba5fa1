import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

export interface OwnerAnswer<T> {
  status: number;
  /** Of JSON; null for anything else. */
  body: T;
  text: string;
}

/** One request at the owner's door of the spoke. @param token the owner's unless told; empty for none */
export async function ownerApi<T = Record<string, unknown>>(
  dir: string,
  method: 'GET' | 'POST',
  path: string,
  body?: object,
  token?: string,
): Promise<OwnerAnswer<T>> {
  const bearer = token ?? (await readFile(join(dir, 'tokens', 'spoke.token'), 'utf8')).trim();
  const headers = {
    ...(bearer === '' ? {} : { authorization: `Bearer ${bearer}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  };
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: join(dir, 'run', 'spoke.sock'), method, path, headers }, (response) => {
      text(response).then((content) => {
        const isJson = response.headers['content-type']?.includes('json') === true;
        resolve({
          status: response.statusCode ?? 0,
          body: (isJson ? JSON.parse(content) : null) as T,
          text: content,
        });
      }, reject);
    });
    call.once('error', reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
