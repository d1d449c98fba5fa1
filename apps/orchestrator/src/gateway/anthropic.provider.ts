import { ApiFault } from './api-fault.js';
import { priceOf, type Price } from './prices.js';
import type { ModelCall, ModelProvider, ModelReply } from './provider.js';

const UPSTREAM = 'https://api.anthropic.com';
const API_VERSION = '2023-06-01';
/** Headers of the upstream that say nothing of the account. */
const PASSED: readonly string[] = ['retry-after', 'request-id', 'x-should-retry'];

/** Sends requests on to the API, with the key; the agent sees the reply as it comes. */
export class AnthropicProvider implements ModelProvider {
  readonly name = 'anthropic';
  readonly defaultModel = 'claude-sonnet-5-5';
  private readonly base: string;

  constructor(
    private readonly apiKey: string,
    upstream = UPSTREAM,
  ) {
    this.base = upstream.replace(/\/+$/, '');
  }

  priceOf(model: string): Price | undefined {
    return priceOf(model);
  }

  async call({ endpoint, request, betas, signal }: ModelCall): Promise<ModelReply> {
    const path = endpoint === 'messages' ? '/v1/messages' : '/v1/messages/count_tokens';
    let response: Response;
    try {
      response = await fetch(`${this.base}${path}`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'x-api-key': this.apiKey,
          'anthropic-version': API_VERSION,
          ...(betas.length === 0 ? {} : { 'anthropic-beta': betas.join(',') }),
        },
        body: JSON.stringify(request),
        // The key goes to the upstream and nowhere else.
        redirect: 'error',
        signal,
      });
    } catch (cause) {
      throw new ApiFault('api_error', 'the model cannot be reached', { cause });
    }
    const headers = PASSED.flatMap((name) => {
      const value = response.headers.get(name);
      return value === null ? [] : [[name, value]];
    });
    return {
      status: response.status,
      contentType: response.headers.get('content-type') ?? 'application/json',
      headers: Object.fromEntries(headers) as Record<string, string>,
      body: response.body ?? empty(),
    };
  }
}

async function* empty(): AsyncGenerator<Uint8Array> {
  // Nothing to say.
}
