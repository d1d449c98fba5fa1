import { existsSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { once } from 'node:events';
import { proves } from '../../../../test/support/proves.js';
import { createProvider } from './create-provider.js';
import { GatewayRoom } from '../../test/gateway-room.js';

const TOOLS = ['bash', 'edit', 'submit'].map((name) => ({
  name,
  description: name,
  input_schema: { type: 'object' as const },
}));
const TASK = {
  model: 'default',
  max_tokens: 1000,
  messages: [{ role: 'user' as const, content: 'Map it' }],
  tools: TOOLS,
};
const open = (order: Parameters<typeof GatewayRoom.open>[1] = {}) => GatewayRoom.open({ name: 'scripted' }, order);

describe('the gateway’s door', () => {
  it.each([
    ['GET', '/v1/messages'],
    ['POST', '/v1/messages/batches'],
    ['POST', '/v1/files'],
    ['GET', '/v1/models'],
    ['POST', '/v1/messages/../files'],
    ['POST', '/v1/messages/'],
    ['PUT', '/v1/messages'],
  ])('offers no %s %s', async (method, path) => {
    await using room = await open();
    expect((await room.send(method, path, method === 'GET' ? '' : '{}')).status).toBe(404);
  });

  it.each([
    ['no JSON', '{'],
    ['a list', '[]'],
    ['no messages', '{"model":"default","max_tokens":1,"messages":[]}'],
    ['no limit', '{"model":"default","messages":[{"role":"user","content":"x"}]}'],
    ['a limit below one', '{"model":"default","max_tokens":-5,"messages":[{"role":"user","content":"x"}]}'],
    ['a limit that is no number', '{"model":"default","max_tokens":1e400,"messages":[{"role":"user","content":"x"}]}'],
    ['a model that is no text', '{"model":{},"max_tokens":1,"messages":[{"role":"user","content":"x"}]}'],
    [
      'a stream that is no boolean',
      '{"model":"default","max_tokens":1,"stream":"yes","messages":[{"role":"user","content":"x"}]}',
    ],
    [
      'tools that are no objects',
      '{"model":"default","max_tokens":1,"tools":[1],"messages":[{"role":"user","content":"x"}]}',
    ],
  ])('refuses %s with 400', async (_, body) => {
    await using room = await open();
    expect(await room.send('POST', '/v1/messages', body)).toMatchObject({
      status: 400,
      body: expect.stringContaining('invalid_request_error'),
    });
    expect(room.session.usage().requests).toBe(0);
  });

  it.each([
    ['a server’s tool', { tools: [{ type: 'web_search_20260318', name: 'web_search' }] }, 403],
    ['code execution', { tools: [{ type: 'code_execution_20260521', name: 'x' }] }, 403],
    ['a foreign server', { mcp_servers: [{ type: 'url', url: 'https://example.org' }] }, 400],
    ['a container', { container: 'x' }, 400],
    ['another price', { speed: 'fast' }, 400],
    ['another region', { inference_geo: 'us' }, 400],
    [
      'a picture that the server would fetch',
      {
        messages: [
          { role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'https://example.org/?secret' } }] },
        ],
      },
      403,
    ],
    [
      'a file of the account',
      {
        messages: [
          {
            role: 'user',
            content: [
              {
                type: 'tool_result',
                tool_use_id: 'x',
                content: [{ type: 'document', source: { type: 'file', file_id: 'f' } }],
              },
            ],
          },
        ],
      },
      403,
    ],
  ])('lets the agent reach no further than the model: %s', async (_, change, status) =>
    proves('ORC-L3', async () => {
      await using room = await open();
      expect((await room.send('POST', '/v1/messages', JSON.stringify({ ...TASK, ...change }))).status).toBe(status);
    })(),
  );

  it('refuses a request that is too large, announced or not', async () => {
    await using room = await open();
    const announced = createConnection(room.socketPath);
    announced.write('POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n');
    const [answer] = (await once(announced, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 413/);
    announced.destroy();

    const flowing = createConnection(room.socketPath);
    flowing.on('error', () => undefined);
    flowing.write('POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n');
    const chunk = `100000\r\n${'x'.repeat(0x100000)}\r\n`;
    const answered = once(flowing, 'data');
    for (let count = 0; count < 18; count += 1) flowing.write(chunk);
    expect(String(((await answered) as [Buffer])[0])).toMatch(/^HTTP\/1.1 413/);
    flowing.destroy();
  });

  it('refuses a body that is nested very deeply', async () => {
    await using room = await open();
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const { status, body } = await room.send(
      'POST',
      '/v1/messages',
      `{"model":"default","max_tokens":1,"messages":[${deep}],"tools":[{"name":"bash"}]}`,
    );
    expect([status, body]).toEqual([400, expect.stringContaining('nested deeper')]);
  });

  it('is open to the agent’s group only, and gone at the end', async () => {
    const room = await open({ gid: process.getuid?.() === 0 ? 234_569 : (process.getgid?.() ?? 0) });
    expect(statSync(room.socketPath).mode & 0o777).toBe(0o660);
    if (process.getuid?.() === 0) expect(statSync(room.socketPath).gid).toBe(234_569);
    await room[Symbol.asyncDispose]();
    await room.session.close();
    expect(existsSync(room.socketPath)).toBe(false);
  });
});

describe('a gateway that has a model and a script', () => {
  it.each([
    ['tester', 200],
    ['worker', 502],
  ])('chooses by the role of the agent: %s', (role, status) =>
    proves('ORC-L4', async () => {
      const scripted = { provider: createProvider({ name: 'scripted' }), roles: ['tester', 'reviewer'] };
      // Nobody listens there.
      const away = { name: 'anthropic' as const, apiKey: 'none', url: 'http://127.0.0.1:1' };
      await using room = await GatewayRoom.open(away, { role }, { scripted });
      expect((await room.send('POST', '/v1/messages', JSON.stringify(TASK))).status).toBe(status);
    })(),
  );
});

describe('the scripted model', () => {
  const results = (turn: number, values: Record<string, string>, isError = false) => ({
    role: 'user' as const,
    content: Object.entries(values).map(([name, content]) => ({
      type: 'tool_result' as const,
      tool_use_id: `toolu_${String(turn)}_${name}`,
      content,
      is_error: isError,
    })),
  });
  const MEASURED = {
    commit: 'c0ffee',
    date: '2026-11-21',
    files: '  17\n',
    commits: '4',
    authors: '2',
    bytes: '99',
    directories: '| `a/` | 17 |\n| `b/` | 1 |',
    extensions: '| `ts` | 17 |',
    largest: '| `x` | 9 |',
    busiest: '| `x` | 4 |',
  };

  it(
    'speaks the protocol whole and in pieces, to the same effect',
    proves('ORC-L3', async () => {
      await using room = await open();
      const whole = await room.client.messages.create(TASK);
      const streamed = await room.client.messages.stream(TASK).finalMessage();
      expect(whole.stop_reason).toBe('tool_use');
      expect(streamed.content).toEqual(whole.content);
      expect(streamed.stop_reason).toBe(whole.stop_reason);
      expect(streamed.usage.output_tokens).toBe(whole.usage.output_tokens);
      const { input_tokens: input } = await room.client.messages.countTokens({
        model: 'default',
        messages: TASK.messages,
        tools: TOOLS,
      });
      expect(input).toBeGreaterThan(10);
      const usage = room.session.usage();
      expect(usage).toMatchObject({ requests: 2, costMicroUsd: 0 });
      expect(usage.outputTokens).toBe(2 * whole.usage.output_tokens);
    }),
  );

  it('takes its values from the results of the tools, whatever they are', async () => {
    await using room = await open();
    const first = await room.client.messages.create(TASK);
    const messages = [...TASK.messages, { role: 'assistant' as const, content: first.content }, results(0, MEASURED)];
    const second = await room.client.messages.create({ ...TASK, messages });
    const input = second.content.find((block) => block.type === 'tool_use')?.input as { path: string; content: string };
    expect(input.path).toBe('docs/REPOSITORY-MAP.md');
    expect(input.content).toContain('| tracked files | 17 |');
    expect(input.content).toContain('| `a/` | 17 |\n| `b/` | 1 |\n');
    expect(input.content).not.toContain('{{');
  });

  it('gives no reply where the conversation has left the playbook', async () => {
    await using room = await open();
    const first = await room.client.messages.create(TASK);
    const assistant = { role: 'assistant' as const, content: first.content };
    const { files: _files, ...without } = MEASURED;
    const cases = [
      [results(0, without), 'each tool_use must be followed by its tool_result'],
      [results(0, MEASURED, true), 'there is no value for'],
    ] as const;
    for (const [values, why] of cases) {
      const lost = room.client.messages.create({ ...TASK, messages: [...TASK.messages, assistant, values] });
      await expect(lost).rejects.toMatchObject({
        status: 400,
        message: expect.stringContaining(why),
      });
    }
    const toolless = room.client.messages.create({ ...TASK, tools: TOOLS.slice(1) });
    await expect(toolless).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining('the tool bash is not on offer'),
    });
  });

  it.each(['missing', '../repository-map', 'repository-map.yaml', '/etc/passwd', 'a\0b'])(
    'has no playbook %j',
    async (playbook) => {
      await using room = await open({ playbook });
      await expect(room.client.messages.create(TASK)).rejects.toMatchObject({ status: 404 });
    },
  );

  it.each([
    'repository-map',
    'long-run',
    'never-submit',
    'no-change',
    'embedded-repository',
    'garbage',
    'crash',
    'endless',
    'fork-bomb',
    'runaway',
  ])('has a playbook %s that is well-formed', async (playbook) => {
    await using room = await open({ playbook });
    expect((await room.client.messages.create(TASK)).role).toBe('assistant');
  });

  it('refuses a model that nobody knows', async () => {
    await using room = await open({ model: 'gpt-9' });
    await expect(room.client.messages.create(TASK)).rejects.toMatchObject({ status: 404 });
  });
});
