import { once } from 'node:events';
import { request, type IncomingMessage, type ServerResponse } from 'node:http';
import { createLogger } from '@capstan/platform';
import { streamOf } from '../../../../test/support/model-stream.js';
import { Upstream } from '../../../../test/support/model-upstream.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { GatewayRoom, SECRET_KEY } from '../../test/gateway-room.js';
import type { RetryClock } from './retrying.provider.js';

const MODEL = 'claude-sonnet-5-5';
const HELLO = { model: MODEL, max_tokens: 1000, messages: [{ role: 'user' as const, content: 'Hello' }] };
const STREAM = { ...HELLO, stream: true };

type Answer = (response: ServerResponse) => void;

/** Time that does not pass; what was waited is noted. */
function clockOf(random: number): RetryClock & { pauses: number[] } {
  const pauses: number[] = [];
  const wait = (ms: number): Promise<void> => {
    pauses.push(ms);
    return Promise.resolve();
  };
  return { pauses, random: () => random, wait };
}

const refuse =
  (status: number, headers: Record<string, string> = {}): Answer =>
  (response) => {
    const error = { type: 'x_error', message: 'organization org-secret is over its limit' };
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify({ error }));
  };
const drop: Answer = (response) => response.destroy();
const good: Answer = (response) => streamOf(response, [{ type: 'text', text: 'Good day' }], { input: 100, output: 50 });
/** 200, and then in the stream that there is nothing. */
const overloadedLate: Answer = (response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const error = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } };
  response.end(`event: error\ndata: ${JSON.stringify(error)}\n\n`);
};

/** An upstream that gives each answer once, the last one for ever. */
async function upstreamOf(...answers: Answer[]): Promise<Upstream> {
  let at = 0;
  return Upstream.start((response) => {
    answers[Math.min(at++, answers.length - 1)]?.(response);
  });
}
const openTo = (
  upstream: Upstream,
  ...more: [Parameters<typeof GatewayRoom.open>[1]?, Parameters<typeof GatewayRoom.open>[2]?]
) => GatewayRoom.open({ name: 'anthropic', apiKey: SECRET_KEY, url: upstream.url }, ...more);
const textOf = (room: GatewayRoom): Promise<string> =>
  room.client.messages
    .stream(HELLO)
    .finalMessage()
    .then(({ content }) => JSON.stringify(content));

describe('a model that is away for a moment', () => {
  it.each<[string, Answer]>([
    ['is overloaded', refuse(529)],
    ['limits the rate', refuse(429)],
    ['fails', refuse(500)],
    ['drops the connection', drop],
    ['says only in the stream that it is overloaded', overloadedLate],
  ])('is asked again where it %s, and the agent sees one reply', (_, fault) =>
    proves('ORC-L3', async () => {
      await using upstream = await upstreamOf(fault, fault, good);
      await using room = await openTo(upstream);
      expect(await textOf(room)).toContain('Good day');
      expect(upstream.requests).toHaveLength(3);
      await until('it is metered', () => room.told.usages.length > 0);
      expect(room.session.usage()).toMatchObject({ requests: 1, inputTokens: 100, outputTokens: 50 });
      expect(room.session.outage()).toBeUndefined();
    })(),
  );

  it('is given the time that it asks for, and a little more so that not all come back at once', async () => {
    await using upstream = await upstreamOf(refuse(429, { 'retry-after': '7' }), good);
    const clock = clockOf(0.5);
    await using room = await openTo(upstream, {}, { clock });
    await textOf(room);
    expect(clock.pauses).toEqual([7000 * 1.05]);
  });

  it('is asked at longer and longer intervals that chance spreads, and not for ever', async () => {
    await using upstream = await upstreamOf(refuse(529));
    for (const [random, pauses] of [
      [0, [250, 500, 1000, 2000, 4000]],
      [1, [500, 1000, 2000, 4000, 8000]],
    ] as const) {
      const clock = clockOf(random);
      await using room = await openTo(upstream, {}, { clock });
      await expect(textOf(room)).rejects.toMatchObject({ status: 529 });
      expect(clock.pauses).toEqual(pauses);
    }
  });

  it.each([
    ['asks for more time than an agent may wait', refuse(429, { 'retry-after': '3600' })],
    ['asks not to be asked again', refuse(503, { 'x-should-retry': 'false' })],
    ['refuses the key', refuse(401)],
  ])('is not asked again where it %s', async (_, fault) => {
    await using upstream = await upstreamOf(fault);
    await using room = await openTo(upstream);
    await expect(textOf(room)).rejects.toThrow('model-unavailable');
    expect(upstream.requests).toHaveLength(1);
  });

  it('is not asked again about a request that is wrong: the agent is told', async () => {
    await using upstream = await upstreamOf(refuse(400));
    await using room = await openTo(upstream);
    await expect(textOf(room)).rejects.toMatchObject({ status: 400 });
    expect(upstream.requests).toHaveLength(1);
    expect(room.session.outage()).toBeUndefined();
  });

  it('costs nothing where the agent goes away during the pause', async () => {
    await using upstream = await upstreamOf(refuse(529));
    const waits = Promise.withResolvers<void>();
    const wait = (_ms: number, signal: AbortSignal): Promise<void> => {
      waits.resolve();
      return once(signal, 'abort').then(() => Promise.reject(new Error('gone')));
    };
    await using room = await openTo(upstream, {}, { clock: { random: () => 0, wait } });
    const aborter = new AbortController();
    const asked = room.client.messages.create(HELLO, { signal: aborter.signal });
    await waits.promise;
    aborter.abort();
    await expect(asked).rejects.toThrow();
    await until('it is metered', () => room.told.usages.length > 0);
    expect(room.session.usage().costMicroUsd).toBe(0);
    expect(upstream.requests).toHaveLength(1);
  });
});

describe('a model that quotes the key in a refusal', () => {
  it(
    'is not repeated with it',
    proves('SEC-01', async () => {
      await using upstream = await Upstream.start((response, { headers }) => {
        response
          .writeHead(400, { 'content-type': 'application/json', 'request-id': 'req_1', 'x-key': SECRET_KEY })
          .end(JSON.stringify({ error: { message: `${String(headers['x-api-key'])} is wrong here` } }));
      });
      await using room = await openTo(upstream);
      const refusal: unknown = await room.client.messages.create(HELLO).catch((error: unknown) => error);
      expect(refusal).toMatchObject({ status: 400, message: expect.stringContaining('[hidden] is wrong here') });
      expect(JSON.stringify(refusal)).not.toContain(SECRET_KEY);
    }),
  );
});

describe('a model that is away for good', () => {
  it.each<[string, Answer, number, string]>([
    ['overloaded', refuse(529), 529, 'the provider is overloaded (529)'],
    ['over the limit', refuse(429), 429, 'the rate limit of this instance is reached (429)'],
    ['broken', refuse(500), 502, 'the provider does not serve (500)'],
    ['not for this key', refuse(401), 502, 'the provider refuses the key of this instance (401)'],
    ['unpaid', refuse(402), 502, 'the account of this instance is unpaid (402)'],
    ['gone', drop, 502, 'the provider cannot be reached'],
  ])('is %s: the agent is told so by a stable code, and nothing of the account', (_, fault, status, reason) =>
    proves('ORC-L3', async () => {
      await using upstream = await upstreamOf(fault);
      await using room = await openTo(upstream);
      const { status: got, body } = await room.send('POST', '/v1/messages', JSON.stringify(HELLO));
      expect([got, JSON.parse(body)]).toMatchObject([
        status,
        { type: 'error', error: { message: expect.stringMatching(/^model-unavailable: /) } },
      ]);
      expect(body).toContain(reason);
      expect(body).not.toContain('org-secret');
      expect(room.session.outage()).toBe(reason);
      expect(room.session.usage().costMicroUsd).toBe(0);
    })(),
  );

  it('tells the client not to ask again: that has been done', async () => {
    await using upstream = await upstreamOf(refuse(529));
    await using room = await openTo(upstream);
    const patient = room.client.withOptions({ maxRetries: 3 });
    await expect(patient.messages.create(HELLO)).rejects.toMatchObject({ status: 529 });
    expect(upstream.requests).toHaveLength(6);
  });

  it('breaks off in the middle: what it has said is counted, by its words and not by their wrapping', async () => {
    await using upstream = await upstreamOf((response) => {
      beginStream(response);
      for (let at = 0; at < 100; at += 1) delta(response, 'abc');
      response.write(' ', () => response.destroy());
    });
    await using room = await openTo(upstream);
    await expect(textOf(room)).rejects.toThrow();
    await until('it is metered', () => room.told.usages.length > 0);
    expect(room.session.usage()).toMatchObject({ inputTokens: 100, outputTokens: 100 });
    expect(room.session.outage()).toBe('its reply broke off');
  });

  it.each<[string, Answer]>([
    [
      'a stream of garbage',
      (response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: {]\n\n\0\xff'),
    ],
    ['JSON that is none', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('<html>')],
    ['nothing', (response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end()],
  ])('answers with %s: the gateway lives, says so, and counts the prompt', async (_, fault) => {
    await using upstream = await upstreamOf(fault, good);
    await using room = await openTo(upstream);
    await room.send('POST', '/v1/messages', JSON.stringify(STREAM));
    await until('it is metered', () => room.told.usages.length > 0);
    expect(room.session.outage()).toBe('its reply cannot be read');
    expect(room.session.usage().costMicroUsd).toBeGreaterThan(0);
    expect(await textOf(room)).toContain('Good day');
    await until('it is well again', () => room.session.outage() === undefined);
  });
});

describe('an agent that reads slowly, or never', () => {
  it('holds the upstream back and not our memory, and is cut off in the end', async () => {
    const piece = 'x'.repeat(64 * 1024);
    let written = 0;
    const ended = Promise.withResolvers<void>();
    await using upstream = await upstreamOf((response) => {
      beginStream(response);
      response.once('close', () => ended.resolve());
      const more = (): void => {
        while (!response.destroyed) {
          written += piece.length;
          if (!delta(response, piece)) break;
        }
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    });
    await using room = await openTo(upstream, {}, { stallMs: 1_000 });
    const sent = request({ socketPath: room.socketPath, method: 'POST', path: '/v1/messages' });
    sent.on('error', () => undefined);
    sent.end(JSON.stringify(STREAM));
    const [reply] = (await once(sent, 'response')) as [IncomingMessage];
    reply.pause();
    reply.on('error', () => undefined);
    await ended.promise;
    // Sockets and streams have their buffers; the endless rest stays where it came from.
    expect(written).toBeLessThan(32 * 1024 * 1024);
    await until('it is metered', () => room.told.usages.length > 0);
    expect(room.session.usage().outputTokens).toBeGreaterThan(0);
    sent.destroy();
  });
});

describe('what is written of a request', () => {
  const PROMPT = 'the-words-of-the-prompt';
  const SAID = 'the-words-of-the-reply';
  const PIN = 'PIN-4711';

  it(
    'are ids, model, tokens, cost, status and time: neither prompt nor reply nor key, whatever goes wrong',
    proves(['ORC-L3', 'SEC-01'], async () => {
      const lines: string[] = [];
      const log = createLogger('gateway', { level: 'trace', destination: { write: (line) => void lines.push(line) } });
      const say: Answer = (response) => streamOf(response, [{ type: 'text', text: SAID }], { input: 100, output: 50 });
      const refusal: Answer = (response) =>
        response
          .writeHead(400, { 'content-type': 'application/json' })
          .end(JSON.stringify({ error: { message: PROMPT } }));
      await using upstream = await upstreamOf(say, refusal, drop);
      await using room = await openTo(upstream, {}, { log });
      const ask = { ...HELLO, messages: [{ role: 'user', content: `${PROMPT} ${SECRET_KEY}` }] };
      for (const body of [
        JSON.stringify({ ...ask, stream: true }),
        JSON.stringify(ask),
        JSON.stringify(ask),
        `${JSON.stringify(ask)}}`,
        // A parser's complaint quotes what is short.
        `~${PIN}`,
        JSON.stringify({ ...ask, [PROMPT]: 1 }),
        JSON.stringify({ ...ask, model: PROMPT }),
        JSON.stringify({ ...ask, tools: [{ type: PROMPT }] }),
      ])
        await room.send('POST', '/v1/messages', body);
      await room.send('POST', `/v1/${PROMPT}`, '{}');
      await until('all is written', () => lines.length >= 9);
      const written = lines.join('');
      expect(JSON.parse(lines[0] ?? '')).toMatchObject({
        agentId: 'agent-one',
        taskId: 'task-one',
        tenant: 'default',
        model: MODEL,
        status: 200,
        attempts: 1,
        isWhole: true,
        input: 100,
        output: 50,
        costMicroUsd: 700,
        ms: expect.any(Number),
      });
      expect(written).toContain('"status":400');
      for (const secret of [PROMPT, SAID, PIN, SECRET_KEY, upstream.url]) expect(written).not.toContain(secret);
    }),
  );
});

function beginStream(response: ServerResponse): void {
  const message = { id: 'm', type: 'message', role: 'assistant', model: MODEL, content: [], stop_reason: null };
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  send(response, { type: 'message_start', message: { ...message, usage: { input_tokens: 100, output_tokens: 1 } } });
  send(response, { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } });
}

function delta(response: ServerResponse, text: string): boolean {
  return send(response, { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } });
}

function send(response: ServerResponse, data: { type: string } & Record<string, unknown>): boolean {
  return response.write(`event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`);
}
