import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { Upstream } from '../../../../test/support/model-upstream.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { GatewayRoom, SECRET_KEY } from '../../test/gateway-room.js';
import { BytePool } from './byte-pool.js';
import { FreeCalls } from './free-calls.js';
import { JsonStructure } from './json-structure.js';
import { readRequest } from './model-request.js';

const MODEL = 'claude-sonnet-5-5';
const HELLO = { model: MODEL, max_tokens: 300, messages: [{ role: 'user', content: 'Hello' }] };
const asking = (content: unknown, more = {}): string =>
  JSON.stringify({ ...HELLO, ...more, messages: [{ role: 'user', content }] });
const openTo = (upstream: Upstream, ...more: [object?, object?]): Promise<GatewayRoom> =>
  GatewayRoom.open({ name: 'anthropic', apiKey: SECRET_KEY, url: upstream.url }, ...more);
const inBase64 = (type: string, mediaType: string) => ({
  type,
  source: { type: 'base64', media_type: mediaType, data: 'AAAA' },
});
const PDF = inBase64('document', 'application/pdf');
const PICTURE = inBase64('image', 'image/png');

describe('the structure of JSON', () => {
  it.each([
    ['{"a":[1,2,{}]}', 9],
    ['"{[:,]}"', 0],
    [String.raw`["\"[[[", "\\", ","]`, 4],
    [String.raw`"\\\"[", [`, 2],
    ['"[[[[[[', 0],
  ])('of %s is counted outside of strings, wherever it is cut', (json, marks) => {
    for (let at = 0; at <= json.length; at += 1) {
      const structure = new JsonStructure();
      const [before, after] = [json.slice(0, at), json.slice(at)].map((part) => structure.push(Buffer.from(part)));
      expect([at, (before ?? 0) + (after ?? 0)]).toEqual([at, marks]);
    }
  });
});

describe('an agent that would hold the gateway up', () => {
  it(
    'is refused a body of countless values before anybody parses it, and may ask for much text',
    proves('ORC-L3', async () => {
      await using room = await GatewayRoom.open({ name: 'scripted' });
      const parse = jest.spyOn(JSON, 'parse');
      const empty = `{"model":"default","max_tokens":1,"messages":[${'[],'.repeat(5_000_000)}[]]}`;
      const refused = await room.send('POST', '/v1/messages', empty);
      const longest = Math.max(0, ...parse.mock.calls.map(([json]) => json.length));
      parse.mockRestore();
      expect(refused).toMatchObject({ status: 413, body: expect.stringContaining('request_too_large') });
      expect(longest).toBeLessThan(1_000_000);
      const text = '[],'.repeat(2_000_000);
      expect((await room.send('POST', '/v1/messages/count_tokens', asking(text, { model: 'default' }))).status).toBe(
        200,
      );
    }),
  );

  it.each<[string, string[]]>([
    ['values', [asking(Array.from({ length: 100 }, () => []))]],
    ['pieces', Array.from(asking('x'.repeat(100)))],
  ])('holds as much memory as its %s will take, and not its bytes alone', async (_, pieces) => {
    const message = Object.assign(Readable.from(pieces.map((piece) => Buffer.from(piece))), { headers: {} });
    using lease = new BytePool(5_000).lease();
    const read = readRequest(message as unknown as IncomingMessage, 5_000, lease);
    await expect(read).rejects.toMatchObject({ type: 'rate_limit_error' });
  });

  it(
    'may ask for a while for what costs nothing, and then once a second',
    proves('ORC-L3', async () => {
      let nowMs = 0;
      await using upstream = await Upstream.start((response) => {
        response.writeHead(400, { 'content-type': 'application/json' }).end('{}');
      });
      await using room = await openTo(upstream, {}, { now: () => nowMs });
      const counted: number[] = [];
      for (let time = 0; time < 50; time += 1) {
        counted.push((await room.send('POST', '/v1/messages/count_tokens', asking('x'))).status);
        counted.push((await room.send('POST', '/v1/messages', asking('x'))).status);
      }
      expect(counted.filter((status) => status === 400)).toHaveLength(100);
      for (const path of ['/v1/messages', '/v1/messages/count_tokens'])
        expect(await room.send('POST', path, asking('x'))).toMatchObject({
          status: 429,
          body: expect.stringContaining('too many requests that cost nothing'),
        });
      expect(upstream.requests).toHaveLength(100);
      nowMs += 1_000;
      expect((await room.send('POST', '/v1/messages', asking('x'))).status).toBe(400);
      expect((await room.send('POST', '/v1/messages', asking('x'))).status).toBe(429);
    }),
  );

  it('is bounded by its budget alone in what it pays for', async () => {
    await using room = await GatewayRoom.open({ name: 'scripted' }, {}, { now: () => 0 });
    const tools = ['bash', 'edit', 'submit'].map((name) => ({ name, input_schema: { type: 'object' } }));
    for (let time = 0; time < 120; time += 1)
      expect((await room.send('POST', '/v1/messages', asking('x', { model: 'default', tools }))).status).toBe(200);
  });

  it('saves up no more than a hundred', () => {
    let nowMs = 0;
    const calls = new FreeCalls(() => nowMs);
    nowMs = 1e9;
    for (let time = 0; time < 100; time += 1) calls.take();
    expect(() => calls.take()).toThrow('cost nothing');
  });
});

describe('a prompt whose tokens its bytes do not tell', () => {
  const reply = (upstream: Parameters<Parameters<typeof Upstream.start>[0]>[0]): void => {
    const usage = { input_tokens: 10, output_tokens: 1 };
    upstream.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ usage }));
  };

  it.each<[string, unknown]>([
    ['a document', [PDF]],
    ['a document in the result of a tool', [{ type: 'tool_result', tool_use_id: 'x', content: [PDF] }]],
    ['a file of no known kind', [inBase64('other', 'x/y')]],
  ])('is refused where the budget is not enough for %s that fills the context', async (_, content) =>
    proves('ORC-L3', async () => {
      await using upstream = await Upstream.start(reply);
      await using room = await openTo(upstream, { budgetMicroUsd: 2_000_000 });
      expect((await room.send('POST', '/v1/messages', asking(content))).status).toBe(402);
      expect(upstream.requests).toEqual([]);
    })(),
  );

  it('costs what the model says, where it says it', async () => {
    await using upstream = await Upstream.start(reply);
    await using room = await openTo(upstream, { budgetMicroUsd: 3_000_000 });
    expect((await room.send('POST', '/v1/messages', asking([PDF]))).status).toBe(200);
    expect(room.session.usage().costMicroUsd).toBe(30);
  });

  it.each<[string, unknown, number]>([
    ['a document', [PDF, PDF], 2_500_000],
    ['pictures', [PICTURE, PICTURE], 25_000],
  ])(
    'counts by its ceiling where the agent goes away before anybody has said what it cost: %s',
    (_, content, atLeast) =>
      proves('ORC-L3', async () => {
        const arrived = Promise.withResolvers<void>();
        await using upstream = await Upstream.start(() => arrived.resolve());
        await using room = await openTo(upstream, { budgetMicroUsd: 3_000_000 });
        const aborter = new AbortController();
        const asked = room.client.messages.create(
          JSON.parse(asking(content, { stream: true })) as Parameters<typeof room.client.messages.create>[0],
          { signal: aborter.signal },
        );
        await arrived.promise;
        aborter.abort();
        await expect(asked).rejects.toThrow();
        await until('it is metered', () => room.told.usages.length > 0 || undefined);
        expect(room.session.usage().costMicroUsd).toBeGreaterThanOrEqual(atLeast);
        expect(room.session.usage().costMicroUsd).toBeLessThan(atLeast + 2_000);
      })(),
  );
});
