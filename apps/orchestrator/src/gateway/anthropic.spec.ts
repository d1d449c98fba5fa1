import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { APIError } from '@anthropic-ai/sdk';
import { Upstream } from '../../../../test/support/model-upstream.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { GatewayRoom, SECRET_KEY } from '../../test/gateway-room.js';

const MODEL = 'claude-sonnet-5-5';
const HELLO = { model: MODEL, max_tokens: 1000, messages: [{ role: 'user' as const, content: 'Hello' }] };
const USAGE = {
  input_tokens: 100,
  output_tokens: 50,
  cache_read_input_tokens: 2000,
  cache_creation_input_tokens: 300,
  cache_creation: { ephemeral_5m_input_tokens: 200, ephemeral_1h_input_tokens: 100 },
};
/** By the list: 2 in, 10 out, 0.10 read, 2.50 written, 4 written for an hour; dollars per million tokens. */
const COST = Math.ceil(100 * 2 + 50 * 10 + 2000 * 0.1 + 200 * 2.5 + 100 * 4);
const MESSAGE = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: MODEL,
  content: [{ type: 'text', text: 'Good day' }],
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage: USAGE,
};

const json = (response: ServerResponse, body: unknown, status = 200): void => {
  response
    .writeHead(status, { 'content-type': 'application/json', 'anthropic-organization-id': 'org-secret' })
    .end(JSON.stringify(body));
};
const event = (data: { type: string } & Record<string, unknown>): string =>
  `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
const beginStream = (response: ServerResponse): void => {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(
    event({
      type: 'message_start',
      message: { ...MESSAGE, content: [], stop_reason: null, usage: { ...USAGE, output_tokens: 1 } },
    }),
  );
  response.write(event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }));
};
const say = (response: ServerResponse, text: string): void => {
  response.write(event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }));
};
const endStream = (response: ServerResponse): void => {
  response.write(event({ type: 'content_block_stop', index: 0 }));
  response.write(
    event({
      type: 'message_delta',
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { output_tokens: 50 },
    }),
  );
  response.end(event({ type: 'message_stop' }));
};
const openTo = (upstream: Upstream, order: Parameters<typeof GatewayRoom.open>[1] = {}) =>
  GatewayRoom.open({ name: 'anthropic', apiKey: SECRET_KEY, url: upstream.url }, order);

describe('the way to a real model', () => {
  it(
    'adds the key outside, and lets the agent see nothing of it',
    proves('ORC-L3', async () => {
      await using upstream = await Upstream.start((response) => json(response, MESSAGE));
      await using room = await openTo(upstream);
      const { response, data } = await room.client.messages.create(HELLO).withResponse();
      expect(upstream.requests[0]).toMatchObject({
        path: '/v1/messages',
        headers: { 'x-api-key': SECRET_KEY, 'anthropic-version': '2023-06-01' },
      });
      expect(JSON.stringify(upstream.requests[0])).not.toContain('held-by-the-gateway');
      expect(JSON.stringify([data, Object.fromEntries(response.headers)])).not.toMatch(/sk-ant|org-secret/);
      expect(data.content).toEqual(MESSAGE.content);
    }),
  );

  it(
    'meters tokens and cost of a reply in one piece, to the millionth of a dollar',
    proves('ORC-L3', async () => {
      await using upstream = await Upstream.start((response) => json(response, MESSAGE));
      await using room = await openTo(upstream);
      await room.client.messages.create(HELLO);
      const figures = {
        requests: 1,
        inputTokens: 100,
        outputTokens: 50,
        cacheReadTokens: 2000,
        cacheWriteTokens: 300,
        costMicroUsd: COST,
      };
      expect(room.session.usage()).toEqual(figures);
      expect(room.told.usages).toEqual([figures]);
      await room.client.messages.create(HELLO);
      expect(room.session.usage()).toMatchObject({ requests: 2, costMicroUsd: 2 * COST });
    }),
  );

  it(
    'passes a stream on piece by piece, and meters it the same',
    proves('ORC-L3', async () => {
      const goOn = Promise.withResolvers<void>();
      await using upstream = await Upstream.start(async (response) => {
        beginStream(response);
        say(response, 'Good ');
        await goOn.promise;
        say(response, 'day');
        endStream(response);
      });
      await using room = await openTo(upstream);
      const stream = room.client.messages.stream(HELLO);
      const [first] = (await once(stream as unknown as NodeJS.EventEmitter, 'text')) as [string];
      // The first piece is here while the upstream still holds back the second.
      expect(first).toBe('Good ');
      goOn.resolve();
      expect((await stream.finalMessage()).content).toMatchObject([{ text: 'Good day' }]);
      await until('the stream is metered', () => room.told.usages.length > 0 || undefined);
      expect(room.session.usage()).toMatchObject({
        requests: 1,
        inputTokens: 100,
        outputTokens: 50,
        costMicroUsd: COST,
      });
    }),
  );

  it('counts what was used of a stream that the agent broke off, and ends it upstream', async () => {
    const broken = Promise.withResolvers<void>();
    await using upstream = await Upstream.start((response) => {
      response.once('close', () => broken.resolve());
      beginStream(response);
      say(response, 'x'.repeat(3000));
    });
    await using room = await openTo(upstream);
    const stream = room.client.messages.stream(HELLO);
    stream.on('text', () => stream.abort());
    await expect(stream.finalMessage()).rejects.toThrow();
    await broken.promise;
    await until('it is metered', () => room.told.usages.length > 0 || undefined);
    expect(room.session.usage().inputTokens).toBe(100);
    expect(room.session.usage().outputTokens).toBeGreaterThan(900);
  });

  it.each([
    ['a stream', true, 60],
    ['a reply in one piece', false, 10_000],
  ])(
    'counts a request that the agent broke off before %s had begun: that is no way past the budget',
    (_, stream, atLeast) =>
      proves('ORC-L3', async () => {
        const arrived = Promise.withResolvers<void>();
        await using upstream = await Upstream.start(() => arrived.resolve());
        await using room = await openTo(upstream, { budgetMicroUsd: 1_000_000 });
        const aborter = new AbortController();
        const asked = room.client.messages.create({ ...HELLO, stream }, { signal: aborter.signal });
        await arrived.promise;
        aborter.abort();
        await expect(asked).rejects.toThrow();
        await until('it is metered', () => room.told.usages.length > 0 || undefined);
        expect(room.session.usage().costMicroUsd).toBeGreaterThan(atLeast);
      })(),
  );

  it(
    'refuses a request that the budget does not allow, says so once, and asks no model',
    proves('ORC-L3', async () => {
      await using upstream = await Upstream.start((response) =>
        json(response, { ...MESSAGE, usage: { input_tokens: 10, output_tokens: 900 } }),
      );
      await using room = await openTo(upstream, { budgetMicroUsd: 11_000 });
      await room.client.messages.create(HELLO);
      expect(room.told.budgetAlarms).toEqual([]);
      for (const _ of [1, 2]) {
        const refusal: unknown = await room.client.messages.create(HELLO).catch((error: unknown) => error);
        expect(refusal).toBeInstanceOf(APIError);
        expect(refusal).toMatchObject({ status: 402, error: { error: { type: 'billing_error' } } });
      }
      expect(upstream.requests).toHaveLength(1);
      expect(room.told.budgetAlarms).toEqual(['agent-budget']);
      expect(room.session.usage().costMicroUsd).toBeLessThanOrEqual(11_000);
    }),
  );

  it('cuts a reply to what is left of the budget', async () => {
    await using upstream = await Upstream.start((response) => json(response, MESSAGE));
    await using room = await openTo(upstream, { budgetMicroUsd: 8_000 });
    await room.client.messages.create(HELLO);
    const limit = Number(upstream.requests[0]?.body['max_tokens']);
    expect(limit).toBeGreaterThan(700);
    expect(limit).toBeLessThan(800);
  });

  it('reckons with the price of the cache that the agent asks for', async () => {
    await using upstream = await Upstream.start((response) => json(response, MESSAGE));
    const limitOf = async (ttl: '5m' | '1h'): Promise<number> => {
      await using room = await openTo(upstream, { budgetMicroUsd: 8_000 });
      const text = {
        type: 'text' as const,
        text: 'x'.repeat(3_000),
        cache_control: { type: 'ephemeral' as const, ttl },
      };
      await room.client.messages.create({ ...HELLO, messages: [{ role: 'user', content: [text] }] });
      return Number(upstream.requests.at(-1)?.body['max_tokens']);
    };
    // A thousand tokens at 4 instead of 2.50 leave 150 tokens of output less, at 10 each.
    expect((await limitOf('5m')) - (await limitOf('1h'))).toBeGreaterThanOrEqual(150);
  });

  it('lets requests at the same moment not pass the budget together', async () => {
    const goOn = Promise.withResolvers<void>();
    await using upstream = await Upstream.start(async (response) => {
      await goOn.promise;
      json(response, { ...MESSAGE, usage: { input_tokens: 10, output_tokens: 1000 } });
    });
    await using room = await openTo(upstream, { budgetMicroUsd: 20_500 });
    const all = [1, 2, 3, 4].map(() =>
      room.client.messages.create(HELLO).then(
        () => 'answered',
        (error: unknown) => (error instanceof APIError ? error.status : error),
      ),
    );
    await until('the rest is refused', () => room.told.budgetAlarms.length > 0 || undefined);
    goOn.resolve();
    expect((await Promise.all(all)).filter((it) => it === 402).length).toBeGreaterThanOrEqual(2);
    expect(room.session.usage().costMicroUsd).toBeLessThanOrEqual(20_500);
  });

  it('prices a long prompt of a model that has two prices by the higher one', async () => {
    const usage = { input_tokens: 50_000, cache_read_input_tokens: 60_000, output_tokens: 100 };
    await using upstream = await Upstream.start((response) => json(response, { ...MESSAGE, usage }));
    await using room = await openTo(upstream);
    await room.client.messages.create({ ...HELLO, model: 'claude-haiku-5-5' });
    expect(room.session.usage().costMicroUsd).toBe(50_000 * 0.5 + 60_000 * 0.05 + 100 * 2.5);
  });

  it.each(['claude-sonnet-9', 'claude-sonnet-5-5 ', 'CLAUDE-SONNET-5-5', '', '__proto__', 'scripted'])(
    'refuses the unknown model %j',
    async (model) => {
      await using upstream = await Upstream.start((response) => json(response, MESSAGE));
      await using room = await openTo(upstream);
      expect(await room.send('POST', '/v1/messages', JSON.stringify({ ...HELLO, model }))).toMatchObject({
        status: 404,
      });
      expect(upstream.requests).toEqual([]);
    },
  );

  it('takes the model that was ordered for "default"', async () => {
    await using upstream = await Upstream.start((response) => json(response, MESSAGE));
    await using ordered = await openTo(upstream, { model: 'claude-opus-5-5' });
    await ordered.client.messages.create({ ...HELLO, model: 'default' });
    await using plain = await openTo(upstream);
    await plain.client.messages.create({ ...HELLO, model: 'default' });
    expect(upstream.requests.map(({ body }) => body['model'])).toEqual(['claude-opus-5-5', 'claude-sonnet-5-5']);
  });

  it('hands the upstream’s own refusals on, and says 502 where it cannot be reached', async () => {
    await using upstream = await Upstream.start((response) => {
      response
        .writeHead(529, { 'content-type': 'application/json', 'retry-after': '3' })
        .end('{"type":"error","error":{"type":"overloaded_error","message":"busy"}}');
    });
    await using room = await openTo(upstream);
    expect(await room.client.messages.create(HELLO).catch((error: unknown) => error)).toMatchObject({ status: 529 });
    await upstream[Symbol.asyncDispose]();
    const refusal: unknown = await room.client.messages.create(HELLO).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ status: 502 });
    expect(String(refusal)).not.toContain('127.0.0.1');
    expect(room.session.usage()).toMatchObject({ costMicroUsd: 0 });
  });

  it('does not take the key to another place', async () => {
    await using elsewhere = await Upstream.start((response) => json(response, MESSAGE));
    await using upstream = await Upstream.start((response) => {
      response.writeHead(307, { location: `${elsewhere.url}/v1/messages` }).end();
    });
    await using room = await openTo(upstream);
    await expect(room.client.messages.create(HELLO)).rejects.toMatchObject({ status: 502 });
    expect(elsewhere.requests).toEqual([]);
  });

  it('lets no feature through that changes price or reach', async () => {
    await using upstream = await Upstream.start((response) => json(response, MESSAGE));
    await using room = await openTo(upstream);
    const betas = 'mcp-client-2025-11-20,interleaved-thinking-2025-05-14,files-api-2025-04-14,x\ty';
    await room.send('POST', '/v1/messages?beta=true', JSON.stringify(HELLO), {
      'anthropic-beta': betas,
      'x-api-key': 'mine',
      'x-other': 'y',
    });
    expect(upstream.requests[0]?.headers['anthropic-beta']).toBe('interleaved-thinking-2025-05-14');
    expect(upstream.requests[0]?.headers).not.toHaveProperty('x-other');
  });
});
