import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { ApiFault } from './api-fault.js';
import type { ModelReply } from './provider.js';

/** The longest replies of the API are a few hundred kilobytes. */
const MOST_REPLY_BYTES = 64 * 1024 * 1024;

/**
 * Passes a reply on as it comes, no faster than the agent reads.
 *
 * @param stallMs how long an agent may read nothing, milliseconds. @param onChunk sees each piece before the agent does
 * @throws where the agent or the upstream went away; {ApiFault} `api_error` for a reply without end
 */
export async function passReply(
  { status, headers, contentType, body }: ModelReply,
  response: ServerResponse,
  { signal, stallMs, onChunk }: { signal: AbortSignal; stallMs: number; onChunk: (chunk: Uint8Array) => void },
): Promise<void> {
  response.writeHead(status, { ...headers, 'content-type': contentType });
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MOST_REPLY_BYTES) throw new ApiFault('api_error', 'the reply does not end');
    onChunk(chunk);
    if (!response.write(chunk)) {
      await once(response, 'drain', { signal: AbortSignal.any([signal, AbortSignal.timeout(stallMs)]) });
    }
  }
  response.end();
}
