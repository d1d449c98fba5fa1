import { ApiFault } from './api-fault.js';
import { IdleLimit } from './idle-limit.js';
import { ModelOutage, outageOf } from './model-outage.js';
import { priceOf, type Price } from './prices.js';
import type { ModelCall, ModelProvider, ModelReply } from './provider.js';
import { openStream } from './open-stream.js';
import { withoutKey } from './without-key.js';

const UPSTREAM = 'https://api.anthropic.com';
const API_VERSION = '2023-06-01';
/** Headers of the upstream that say nothing of the account. */
const PASSED: readonly string[] = ['request-id'];
/** A stream pings every few seconds; a reply in one piece is silent until it is there. */
const LONGEST_REFUSAL = 64 * 1024;
const SILENCE_MS = { stream: 120_000, whole: 280_000 };

/** Sends requests on to the API, with the key; the agent sees the reply as it comes. */
export class AnthropicProvider implements ModelProvider {
  readonly name = 'anthropic';
  readonly defaultModel = 'claude-sonnet-5-5';
  private readonly base: string;

  /** @param silenceMs that is borne of the upstream, milliseconds. */
  constructor(
    private readonly apiKey: string,
    upstream = UPSTREAM,
    private readonly silenceMs = SILENCE_MS,
  ) {
    this.base = upstream.replace(/\/+$/, '');
  }

  priceOf(model: string): Price | undefined {
    return priceOf(model);
  }

  async call(call: ModelCall): Promise<ModelReply> {
    const idle = new IdleLimit(call.request.stream === true ? this.silenceMs.stream : this.silenceMs.whole);
    try {
      const response = await this.fetch(call, AbortSignal.any([call.signal, idle.signal]));
      const outage = outageOf(response.status, response.headers);
      if (outage !== undefined) {
        await response.body?.cancel();
        throw outage;
      }
      const contentType = response.headers.get('content-type') ?? 'application/json';
      const isStream = contentType.startsWith('text/event-stream');
      // A reply may quote the request, and its headers with it.
      const whole = withoutKey(listened(response.body ?? empty(), idle), this.apiKey);
      const body = await (response.status >= 400 ? beginningOf(whole) : isStream ? openStream(whole) : whole);
      return { status: response.status, contentType, headers: passed(response.headers), body };
    } catch (error) {
      idle[Symbol.dispose]();
      if (call.signal.aborted || error instanceof ApiFault) throw error;
      throw unreachable(error, idle.isOver);
    }
  }

  private fetch({ endpoint, request, betas }: ModelCall, signal: AbortSignal): Promise<Response> {
    const path = endpoint === 'messages' ? '/v1/messages' : '/v1/messages/count_tokens';
    return fetch(`${this.base}${path}`, {
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
  }
}

/** What waited in silence may have been worked on: it is not asked for again. */
function unreachable(cause: unknown, isSilent: boolean): ModelOutage {
  return isSilent
    ? new ModelOutage('the provider is silent', { status: 0, isPassing: false, mayHaveCost: true }, { cause })
    : new ModelOutage('the provider cannot be reached', { status: 0, isPassing: true }, { cause });
}

function passed(headers: Headers): Record<string, string> {
  const found = PASSED.flatMap((name) => {
    const value = headers.get(name);
    return value === null ? [] : [[name, value] as const];
  });
  return Object.fromEntries(found);
}

/** Each piece shows that the upstream is there. */
async function* listened(body: AsyncIterable<Uint8Array>, idle: IdleLimit): AsyncGenerator<Uint8Array> {
  using _limit = idle;
  for await (const chunk of body) {
    idle.renew();
    yield chunk;
    // The time that a slow agent takes is not the upstream's silence.
    idle.renew();
  }
}

async function beginningOf(refusal: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of refusal) {
    bytes += chunk.length;
    if (bytes > LONGEST_REFUSAL) break;
    chunks.push(chunk);
  }
  return chunks;
}

async function* empty(): AsyncGenerator<Uint8Array> {
  // Nothing to say.
}
