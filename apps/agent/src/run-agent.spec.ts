import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { text } from 'node:stream/consumers';
import { bundle } from '../../../test/support/bundle.js';
import { streamOf } from '../../../test/support/model-stream.js';
import { Upstream, type UpstreamRequest } from '../../../test/support/model-upstream.js';
import { proves } from '../../../test/support/proves.js';
import type { OutputLine } from './output.js';
import type { Task, TaskLimits } from './task.js';

jest.setTimeout(120_000);

type Answer = (response: ServerResponse, request: UpstreamRequest) => void;
const TOKENS = { input: 100, output: 10 };
const say =
  (text: string): Answer =>
  (response) =>
    streamOf(response, [{ type: 'text', text }], TOKENS);
const callOf =
  (name: string, input: object): Answer =>
  (response, { body }) => {
    const id = `toolu_${String((body['messages'] as unknown[]).length)}`;
    streamOf(response, [{ type: 'tool_use', id, name, input }], TOKENS);
  };
const work = callOf('bash', { command: 'true' });
const submit = callOf('submit', { summary: 'Done' });
const tooLong =
  (message: string): Answer =>
  (response) => {
    const error = { type: 'error', error: { type: 'invalid_request_error', message } };
    response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify(error));
  };
const PROMPT = 'prompt is too long: 200410 tokens > 200000 maximum';
const WITH_REPLY = 'input length and `max_tokens` exceed context limit: 190000 + 16384 > 200000, decrease input length';

describe('an agent', () => {
  let directory: string;
  let agent: string;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'capstan-run-'));
    agent = await bundle('apps/agent/src/main.ts', join(directory, 'agent.mjs'));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  interface Run {
    reason: string | undefined;
    lines: OutputLine[];
    asked: number;
    /** What the model was asked first. */
    first: Record<string, unknown> | undefined;
  }

  /**
   * Has a model give these answers, the last one for ever.
   *
   * @param changes to the task. @param bounds other limits. @param drops connections that the gateway loses first
   */
  async function run(
    answers: Answer[],
    {
      changes = {},
      bounds = {},
      drops = 0,
    }: { changes?: Partial<Task>; bounds?: Partial<TaskLimits>; drops?: number } = {},
  ): Promise<Run> {
    const taskFile = join(directory, 'task.json');
    const limits = {
      iterations: 20,
      tokens: 1e6,
      timeoutMs: 100_000,
      contextTokens: 200_000,
      compactAtTokens: 160_000,
      ...bounds,
    };
    const about = { agentId: 'one', taskId: 'one', role: 'worker', model: 'test', workItems: ['Work.'], skills: [] };
    writeFileSync(taskFile, JSON.stringify({ ...about, limits, repositoryDir: directory, ...changes }));
    const gatewaySocket = join(directory, 'gateway.sock');
    const submitSocket = join(directory, 'submit.sock');
    let at = 0;
    await using upstream = await Upstream.start((response, request) =>
      answers[Math.min(at++, answers.length - 1)]?.(response, request),
    );
    const { port } = new URL(upstream.url);
    let left = drops;
    const gateway = createServer((client) => {
      if (left-- > 0) client.destroy();
      else {
        const model = connect(Number(port), '127.0.0.1');
        pipeline(client, model, client, () => undefined);
      }
    });
    const desk = createHttpServer(({ method }, response) => {
      response.end(JSON.stringify(method === 'GET' ? { messages: [] } : { accepted: true, text: '' }));
    });
    try {
      for (const [server, path] of [
        [gateway, gatewaySocket],
        [desk, submitSocket],
      ] as [Server, string][])
        await once(server.listen(path), 'listening');
      const env = { ...process.env, CAPSTAN_RUN_DIR: directory };
      const child = spawn(process.execPath, [agent], { env, stdio: ['ignore', 'pipe', 'inherit'] });
      const lines = (await text(child.stdout))
        .split('\n')
        .flatMap((line) => (line === '' ? [] : [JSON.parse(line) as OutputLine]));
      const reason = lines.flatMap((line) => (line.type === 'end' ? [line.reason] : [])).at(-1);
      return { reason, lines, asked: upstream.requests.length, first: upstream.requests[0]?.body };
    } finally {
      gateway.close();
      desk.close();
    }
  }

  it('goes on where the way to its model was away for as long as a restart of the instance takes', async () => {
    // Four repeats, as the SDK spaces them, are over in less than eight seconds.
    expect(await run([submit], { drops: 5 })).toMatchObject({ reason: 'submitted', asked: 1 });
  });

  it.each([PROMPT, WITH_REPLY])('sums up and asks again where the model says: %s', async (words) => {
    const { reason, lines, asked } = await run([work, work, tooLong(words), say('So far'), submit]);
    expect({ reason, asked }).toEqual({ reason: 'submitted', asked: 5 });
    expect(lines).toContainEqual({ type: 'compacted', replies: 1, tokens: expect.any(Number) as number });
  });

  it.each([PROMPT, WITH_REPLY])('ends with a reason of its own where that does not help: %s', async (words) => {
    const { reason, asked } = await run([work, work, tooLong(words), say('So far'), tooLong(words)]);
    expect({ reason, asked }).toEqual({ reason: 'agent-context', asked: 5 });
  });

  it(
    'tells the model its role, its work items and its skills with the first request',
    proves('ORC-105', async () => {
      const changes = {
        role: 'reviewer',
        workItems: ['Read it.', 'Judge it.'],
        skills: ['TypeScript', 'release notes'],
      };
      const { first } = await run([submit], { changes });
      expect(first?.['system']).toContain('You review the code that the task names');
      expect(first?.['system']).toContain('Skills you may draw on: TypeScript, release notes.');
      expect(first?.['messages']).toEqual([{ role: 'user', content: 'Task one:\n\n1. Read it.\n\n2. Judge it.' }]);
      const { first: bare } = await run([submit]);
      expect(bare?.['system']).not.toContain('Skills');
    }),
  );

  it(
    'tells a program of the owner’s the same, on its input',
    proves(['ORC-105', 'ORC-L4'], async () => {
      const tell = {
        kind: 'command' as const,
        run: ['/bin/sh', '-c', 'cat >TOLD.md'],
        environment: {},
        allow: [],
        mends: 0,
      };
      const changes = { role: 'tester', workItems: ['Test it.'], skills: ['TypeScript'], program: tell };
      const { reason, asked } = await run([], { changes });
      expect({ reason, asked }).toEqual({ reason: 'submitted', asked: 0 });
      const told = readFileSync(join(directory, 'TOLD.md'), 'utf8');
      for (const words of ['You write and run tests', 'Skills you may draw on: TypeScript.', 'Task one:\n\nTest it.'])
        expect(told).toContain(words);
    }),
  );

  it.each([
    [220, 2],
    [221, 3],
  ])('ends at its limit of %i tokens, those of the reply that reaches it counted: %i requests', (tokens, asked) =>
    proves('ORC-L4', async () => {
      expect(await run([work], { bounds: { tokens } })).toMatchObject({ reason: 'agent-budget', asked });
    })(),
  );
});
