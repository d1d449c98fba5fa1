import { Upstream } from '../../../../test/support/model-upstream.js';
import { proves } from '../../../../test/support/proves.js';
import { GatewayRoom, SECRET_KEY } from '../../test/gateway-room.js';
import { withoutKey } from './without-key.js';

async function* cutAt(text: string, ...places: number[]): AsyncGenerator<Uint8Array> {
  let from = 0;
  for (const place of [...places, text.length]) {
    yield Promise.resolve(Buffer.from(text.slice(from, place)));
    from = place;
  }
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks).toString();
}

describe('a reply that quotes the key', () => {
  const REPLY = `a ${SECRET_KEY}${SECRET_KEY} b ${SECRET_KEY.slice(0, -1)}x${SECRET_KEY}`;
  const CLEAN = `a [hidden][hidden] b ${SECRET_KEY.slice(0, -1)}x[hidden]`;

  it('loses it, in whatever two or three pieces it comes', async () => {
    for (let first = 0; first <= REPLY.length; first += 1)
      for (const second of [first, first + 1, first + 20, REPLY.length].filter((at) => at <= REPLY.length))
        expect(await textOf(withoutKey(cutAt(REPLY, first, second), SECRET_KEY))).toBe(CLEAN);
  });

  it('loses it byte by byte', async () => {
    const everywhere = Array.from(REPLY, (_, at) => at);
    expect(await textOf(withoutKey(cutAt(REPLY, ...everywhere), SECRET_KEY))).toBe(CLEAN);
  });

  it('holds nothing else back, and keeps what only begins like it', async () => {
    const beginning = SECRET_KEY.slice(0, 10);
    const passed = withoutKey(cutAt(`event\n\n${beginning}`, 7), SECRET_KEY);
    expect(Buffer.from((await passed.next()).value as Uint8Array).toString()).toBe('event\n\n');
    expect(await textOf(passed)).toBe(beginning);
  });

  it('is as it was where the key is a placeholder, which may be part of any word', async () => {
    expect(await textOf(withoutKey(cutAt('none of it', 3), 'none'))).toBe('none of it');
  });

  it.each([
    ['in one piece', 'application/json', (key: string) => JSON.stringify({ said: `x${key}y` })],
    ['as a stream', 'text/event-stream', (key: string) => `event: message_start\ndata: "x${key}y"\n\n`],
  ])('does not reach an agent with it, %s', (_, contentType, quote) =>
    proves('SEC-01', async () => {
      await using upstream = await Upstream.start((response, { headers }) => {
        const reply = quote(String(headers['x-api-key']));
        response.writeHead(200, { 'content-type': contentType });
        response.write(reply.slice(0, 50));
        response.end(reply.slice(50));
      });
      await using room = await GatewayRoom.open({ name: 'anthropic', apiKey: SECRET_KEY, url: upstream.url });
      const ask = { model: 'claude-sonnet-5-5', max_tokens: 300, messages: [{ role: 'user', content: 'x' }] };
      const { status, body } = await room.send('POST', '/v1/messages', JSON.stringify(ask));
      expect([status, body]).toEqual([200, quote('[hidden]')]);
    })(),
  );
});
