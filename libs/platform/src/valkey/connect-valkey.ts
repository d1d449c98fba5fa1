import { Redis, type RedisOptions } from 'ioredis';
import { LocalFault } from '@capstan/protocol';
import { parseValkeyUrl } from './valkey-url.js';

/**
 * Connects to Valkey and resolves once it answers. Afterwards the client reconnects by itself; commands that were sent
 * while it is away wait (`maxRetriesPerRequest: null`, which BullMQ demands too).
 *
 * @throws LocalFault `valkey-url`, `valkey-unavailable`
 */
export async function connectValkey(url: string, options: Omit<RedisOptions, 'replyMapping'> = {}): Promise<Redis> {
  const client = new Redis({
    ...parseValkeyUrl(url),
    maxRetriesPerRequest: null,
    retryStrategy: (attempt) => Math.min(50 * attempt, 1000),
    ...options,
    lazyConnect: true,
  });
  // Without a listener ioredis prints to stderr; the state is visible through `client.status` and 'error' listeners of the owner.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    client.disconnect();
    throw new LocalFault('valkey-unavailable', 'Valkey does not answer.', undefined, { cause: error });
  }
}

/** Lets what was sent finish, then closes; at once where Valkey is away. */
export async function closeValkey(client: Redis): Promise<void> {
  if (client.status === 'ready') await client.quit().catch(() => undefined);
  client.disconnect();
}
