import { pinnedFetch } from '@capstan/identity';
import { isFaultCode } from '@capstan/protocol';
import type { InstanceFile } from '../instance/instance-file.js';

const ANSWER_MS = 5_000;

/** What the hub made of a wish so far; `code` says why it was refused. */
export type WishAnswer = { is: 'taken' } | { is: 'refused'; code: string } | { is: 'waiting' };

/** Hands a signed wish to the hub where there is no link; its signature is all that admits it. Never throws. */
export async function postWish({ hub }: InstanceFile, envelope: string): Promise<WishAnswer> {
  try {
    const fetch = pinnedFetch(hub.tls?.pin);
    const response = await fetch(new URL('/api/v1/federation/connections/wishes', hub.url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ event: envelope }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (response.ok) return { is: 'taken' };
    const { code } = (await response.json()) as { code?: unknown };
    const isFinal = response.status < 500 && response.status !== 429;
    return isFinal && typeof code === 'string' && isFaultCode(code) ? { is: 'refused', code } : { is: 'waiting' };
  } catch {
    return { is: 'waiting' };
  }
}
