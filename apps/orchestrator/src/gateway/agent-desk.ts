import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AgentBudget, Reserved } from './agent-budget.js';
import { ApiFault } from './api-fault.js';
import type { BytePool } from './byte-pool.js';
import type { FreeCalls } from './free-calls.js';
import type { GatewayOrder, GatewayRules } from './gateway-order.js';
import type { Meter, UnheardCost } from './meter.js';
import { ModelOutage } from './model-outage.js';
import { readRequest, type ModelRequest, type ReadRequest } from './model-request.js';
import { passReply } from './pass-reply.js';
import { ceilingOf, type Price } from './prices.js';
import { promptTokensOf } from './prompt-size.js';
import type { Endpoint, ModelCall, ModelProvider, ModelReply } from './provider.js';
import type { RequestLog } from './request-log.js';
import { usageReader, type UsageReader } from './usage-reader.js';

const MOST_REQUEST_BYTES = 16 * 1024 * 1024;
const MOST_AT_ONCE = 4;
/** The model's name for "the one that was ordered". */
const DEFAULT_MODEL = 'default';
/** Features that change neither price nor reach. */
const BETAS =
  /^(?:interleaved-thinking|fine-grained-tool-streaming|token-efficient-tools|context-management|prompt-caching|prompt-caching-scope|effort)-\d{4}-\d{2}-\d{2}$/;

export interface DeskParts {
  order: GatewayOrder;
  meter: Meter;
  budget: AgentBudget;
  provider: ModelProvider;
  rules: () => Promise<GatewayRules>;
  /** The agent's part of the memory for requests. */
  memory: BytePool;
  freeCalls: FreeCalls;
  log: RequestLog;
  /** How long an agent may read nothing of a reply that is there, milliseconds. */
  stallMs: number;
}

interface Accepted {
  request: ModelRequest;
  price: Price;
}

/** Answers the requests of one agent. */
export class AgentDesk {
  private readonly closing = new AbortController();
  private readonly running = new Set<Promise<void>>();
  /** Why the last request got no whole reply, if the model was the reason; for people. */
  outage: string | undefined;

  constructor(private readonly parts: DeskParts) {}

  /** Never rejects. */
  async serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const work = this.answer(message, response).catch((error: unknown) => this.refuse(response, error));
    this.running.add(work);
    await work;
    this.running.delete(work);
  }

  /** Ends what runs. */
  close(): void {
    this.closing.abort();
  }

  async settled(): Promise<void> {
    await Promise.all(this.running);
  }

  private async answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const { order, budget, provider, stallMs, memory } = this.parts;
    const endpoint = endpointOf(message);
    if (this.running.size >= MOST_AT_ONCE)
      throw new ApiFault('rate_limit_error', `at most ${String(MOST_AT_ONCE)} requests at once`);
    this.parts.freeCalls.take();
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const signal = AbortSignal.any([gone.signal, this.closing.signal]);
    using lease = memory.lease();
    const rules = await this.parts.rules();
    const read = await readRequest(message, MOST_REQUEST_BYTES, lease);
    const { request, price } = this.accept(read, endpoint, rules);
    const { bytes, survey } = read;
    const betas = String(message.headers['anthropic-beta'] ?? '')
      .split(',')
      .map((it) => it.trim())
      .filter((it) => BETAS.test(it));
    const call = { endpoint, request, bytes, betas, playbook: order.playbook ?? '', signal };
    if (endpoint === 'count_tokens') {
      await passReply(await provider.call(call), response, { signal, stallMs, onChunk: () => undefined });
      return;
    }
    const kept = survey.isKeptForAnHour ? 'cacheWriteHour' : 'cacheWrite';
    const promptTokens = promptTokensOf(bytes, survey);
    const reserved = await budget.reserve({ price, promptTokens, maxTokens: request.max_tokens ?? 1, kept }, rules);
    await this.metered(
      { ...call, request: { ...request, max_tokens: reserved.maxTokens } },
      reserved,
      (reply, reader) => passReply(reply, response, { signal, stallMs, onChunk: (chunk) => reader.push(chunk) }),
    );
  }

  private accept({ request }: ReadRequest, endpoint: Endpoint, { unknownModels }: GatewayRules): Accepted {
    const { order, provider } = this.parts;
    if (endpoint === 'messages' && request.max_tokens === undefined)
      throw new ApiFault('invalid_request_error', 'max_tokens: is required');
    const model = request.model === DEFAULT_MODEL ? order.model || provider.defaultModel : request.model;
    const price =
      provider.priceOf(model) ?? (provider.name === 'scripted' ? undefined : ceilingOf(model, unknownModels));
    if (price === undefined) throw new ApiFault('not_found_error', `model: ${model.slice(0, 80)} is not known here`);
    const { metadata: _metadata, ...rest } = request;
    return { request: { ...rest, model }, price };
  }

  /** Whatever way the request ends, what it used is counted. */
  private async metered(
    call: ModelCall,
    reserved: Reserved,
    read: (reply: ModelReply, reader: UsageReader) => Promise<void>,
  ): Promise<void> {
    const began = performance.now();
    let reply: ModelReply | undefined;
    let reader: UsageReader | undefined;
    let outage: unknown;
    try {
      reply = await this.parts.provider.call(call);
      reader = usageReader(reply.contentType);
      await read(reply, reader);
    } catch (error) {
      outage = error;
      throw error;
    } finally {
      const status = reply?.status ?? (outage instanceof ModelOutage ? outage.facts.status : 0);
      const isWhole = reader?.isWhole ?? false;
      this.noteOutage(call, status, isWhole, outage);
      const tokens = reader?.tokens();
      const cost = tokens ?? unheardCost(call, reply?.status, outage);
      if (cost !== 'nothing') this.parts.freeCalls.giveBack();
      const costMicroUsd = await reserved.settle(cost);
      const usage = this.parts.meter.usage();
      this.parts.log.answered({
        model: call.request.model,
        status,
        attempts: reply?.attempts ?? (outage instanceof ModelOutage ? outage.attempts : 1),
        requestId: reply?.headers['request-id'] ?? '',
        isStream: call.request.stream === true,
        isWhole,
        tokens,
        costMicroUsd,
        spentMicroUsd: usage.costMicroUsd,
        ms: Math.round(performance.now() - began),
      });
      this.parts.order.onUsage(usage);
    }
  }

  private noteOutage({ signal }: ModelCall, status: number, isWhole: boolean, error: unknown): void {
    if (error instanceof ModelOutage) this.outage = error.reason;
    else if (signal.aborted) return;
    else if (status !== 200 || isWhole) this.outage = undefined;
    else this.outage = error === undefined ? 'its reply cannot be read' : 'its reply broke off';
  }

  private refuse(response: ServerResponse, error: unknown): void {
    const fault = error instanceof ApiFault ? error : new ApiFault('api_error', 'the gateway failed', { cause: error });
    this.parts.log.refused(fault);
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    // What is left of the request is not read, so that the connection is of no more use.
    const headers = {
      'content-type': 'application/json',
      connection: 'close',
      'x-should-retry': String(fault.isWorthRepeating),
    };
    response.writeHead(fault.status, headers).end(fault.body);
  }
}

/**
 * What counts of a request whose usage nobody heard. To go away before the model says it must be no way past the
 * budget: a reply in one piece would have said it at its end, a stream says what the prompt cost at its beginning.
 *
 * @param status of the reply; undefined where there was none.
 */
function unheardCost({ request, signal }: ModelCall, status: number | undefined, error: unknown): UnheardCost {
  const isAway =
    error instanceof ModelOutage ? error.facts.mayHaveCost !== true : status === undefined && !signal.aborted;
  if (isAway || (status ?? 0) >= 400) return 'nothing';
  return request.stream === true ? 'prompt' : 'everything';
}

function endpointOf({ method, url = '' }: IncomingMessage): Endpoint {
  const path = url.split('?')[0];
  if (method === 'POST' && path === '/v1/messages') return 'messages';
  if (method === 'POST' && path === '/v1/messages/count_tokens') return 'count_tokens';
  throw new ApiFault('not_found_error', `${String(method)} ${url.slice(0, 80)} is not offered`);
}
