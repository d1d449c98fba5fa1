import type { IncomingMessage, ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { Logger } from '@capstan/platform';
import { ApiFault } from './api-fault.js';
import type { Meter, Reservation, UnheardCost } from './meter.js';
import type { GatewayOrder } from './gateway-order.js';
import { isKeptForAnHour, readRequest, type ModelRequest } from './model-request.js';
import type { Price } from './prices.js';
import type { Endpoint, ModelCall, ModelProvider, ModelReply } from './provider.js';
import { usageReader, type UsageReader } from './usage-reader.js';

const MOST_REQUEST_BYTES = 16 * 1024 * 1024;
const MOST_AT_ONCE = 4;
/** The model's name for "the one that was ordered". */
const DEFAULT_MODEL = 'default';
/** Features that change neither price nor reach. */
const BETAS =
  /^(?:interleaved-thinking|fine-grained-tool-streaming|token-efficient-tools|context-management|prompt-caching)-\d{4}-\d{2}-\d{2}$/;

interface Accepted {
  request: ModelRequest;
  bytes: number;
  price: Price;
}

/** Answers the requests of one agent. */
export class AgentDesk {
  private readonly closing = new AbortController();
  private readonly running = new Set<Promise<void>>();
  private isOverBudget = false;

  constructor(
    private readonly order: GatewayOrder,
    private readonly meter: Meter,
    private readonly provider: ModelProvider,
    private readonly log: Logger,
  ) {}

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
    const endpoint = endpointOf(message);
    if (this.running.size >= MOST_AT_ONCE)
      throw new ApiFault('rate_limit_error', `at most ${String(MOST_AT_ONCE)} requests at once`);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const signal = AbortSignal.any([gone.signal, this.closing.signal]);
    const accepted = await this.accept(message, endpoint);
    const betas = String(message.headers['anthropic-beta'] ?? '')
      .split(',')
      .map((it) => it.trim())
      .filter((it) => BETAS.test(it));
    const call = {
      endpoint,
      request: accepted.request,
      bytes: accepted.bytes,
      betas,
      playbook: this.order.playbook ?? '',
      signal,
    };
    if (endpoint === 'count_tokens') {
      await pass(await this.provider.call(call), response, signal, () => undefined);
      return;
    }
    const reservation = this.reserve(accepted);
    const request = { ...accepted.request, max_tokens: reservation.maxTokens };
    await this.metered({ ...call, request }, reservation, (reply, reader) =>
      pass(reply, response, signal, (chunk) => reader.push(chunk)),
    );
  }

  private async accept(message: IncomingMessage, endpoint: Endpoint): Promise<Accepted> {
    const { request, bytes } = await readRequest(message, MOST_REQUEST_BYTES);
    if (endpoint === 'messages' && request.max_tokens === undefined)
      throw new ApiFault('invalid_request_error', 'max_tokens: is required');
    const model = request.model === DEFAULT_MODEL ? this.order.model || this.provider.defaultModel : request.model;
    const price = this.provider.priceOf(model);
    if (price === undefined) throw new ApiFault('not_found_error', `model: ${model.slice(0, 80)} is not known here`);
    const { metadata: _metadata, ...rest } = request;
    return { request: { ...rest, model }, bytes, price };
  }

  private reserve({ request, bytes, price }: Accepted): Reservation {
    const kept = isKeptForAnHour(request) ? 'cacheWriteHour' : 'cacheWrite';
    const reservation = this.meter.reserve(price, bytes, request.max_tokens ?? 1, kept);
    if (reservation !== undefined) return reservation;
    if (!this.isOverBudget) this.order.onBudget();
    this.isOverBudget = true;
    throw new ApiFault('billing_error', "agent-budget: the agent's budget does not allow another request");
  }

  /** Whatever way the request ends, what it used is counted. */
  private async metered(
    call: ModelCall,
    reservation: Reservation,
    read: (reply: ModelReply, reader: UsageReader) => Promise<void>,
  ): Promise<void> {
    const { agentId, taskId, tenant } = this.order;
    const { model } = call.request;
    const began = performance.now();
    let reader: UsageReader | undefined;
    let status = 0;
    try {
      const reply = await this.provider.call(call);
      status = reply.status;
      reader = usageReader(reply.contentType);
      await read(reply, reader);
    } finally {
      const tokens = reader?.tokens();
      reservation.settle(tokens ?? unheardCost(call, status));
      const usage = this.meter.usage();
      const ms = Math.round(performance.now() - began);
      this.log.info({
        agentId,
        taskId,
        tenant,
        model,
        status,
        ...tokens,
        spentMicroUsd: usage.costMicroUsd,
        ms,
        msg: 'model request',
      });
      this.order.onUsage(usage);
    }
  }

  private refuse(response: ServerResponse, error: unknown): void {
    const { agentId } = this.order;
    const fault = error instanceof ApiFault ? error : new ApiFault('api_error', 'the gateway failed', { cause: error });
    this.log.warn({
      agentId,
      status: fault.status,
      type: fault.type,
      err: fault.cause ?? undefined,
      reason: fault.message,
      msg: 'model request refused',
    });
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    // What is left of the request is not read, so that the connection is of no more use.
    const headers = {
      'content-type': 'application/json',
      connection: 'close',
      'x-should-retry': String(fault.status === 429 || fault.status === 502),
    };
    response.writeHead(fault.status, headers).end(fault.body);
  }
}

/**
 * What counts of a request whose usage nobody heard. To go away before the model says it must be no way past the
 * budget: a reply in one piece would have said it at its end, a stream says what the prompt cost at its beginning.
 *
 * @param status of the reply; 0 where there was none.
 */
function unheardCost({ request, signal }: ModelCall, status: number): UnheardCost {
  const isRefused = status >= 400 || (status === 0 && !signal.aborted);
  if (isRefused) return 'nothing';
  return request.stream === true ? 'prompt' : 'everything';
}

function endpointOf({ method, url = '' }: IncomingMessage): Endpoint {
  const path = url.split('?')[0];
  if (method === 'POST' && path === '/v1/messages') return 'messages';
  if (method === 'POST' && path === '/v1/messages/count_tokens') return 'count_tokens';
  throw new ApiFault('not_found_error', `${String(method)} ${url.slice(0, 80)} is not offered`);
}

async function pass(
  reply: ModelReply,
  response: ServerResponse,
  signal: AbortSignal,
  onChunk: (chunk: Uint8Array) => void,
): Promise<void> {
  response.writeHead(reply.status, { ...reply.headers, 'content-type': reply.contentType });
  for await (const chunk of reply.body) {
    onChunk(chunk);
    if (!response.write(chunk)) await once(response, 'drain', { signal });
  }
  response.end();
}
