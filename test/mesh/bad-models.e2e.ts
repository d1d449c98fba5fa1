import { Mesh } from '@capstan/localmesh';
import { faultSentence } from '@capstan/protocol';
import { agentIn, spawnAgent } from '../support/agents.js';
import { streamOf } from '../support/model-stream.js';
import { Upstream, type UpstreamRequest } from '../support/model-upstream.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { salvaged } from '../support/salvage.js';

jest.setTimeout(300_000);

type Response = Parameters<Parameters<typeof Upstream.start>[0]>[0];

const TOKENS = { input: 10, output: 10 };
const tool = (name: string, input: object) => [{ type: 'tool_use', id: `toolu_${name}`, name, input }];
const isFirst = ({ body }: UpstreamRequest): boolean => (body['messages'] as unknown[]).length === 1;

describe('a model that does not do what it should', () => {
  const repository = new TestRepository();
  let upstream: Upstream;
  let mesh: Mesh;
  /** What the model answers once the agent has written BEGUN.md. */
  let answer: (response: Response, request: UpstreamRequest) => void;

  beforeAll(async () => {
    upstream = await Upstream.start((response, request) => {
      if (isFirst(request)) streamOf(response, tool('edit', { path: 'BEGUN.md', content: 'Begun.\n' }), TOKENS);
      else answer(response, request);
    });
    const model = { provider: 'anthropic' as const, apiKey: 'sk-ant-test-0123456789', url: upstream.url };
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, model });
  });
  afterAll(async () => {
    await mesh.stop();
    await upstream[Symbol.asyncDispose]();
    repository[Symbol.dispose]();
  });

  const stream = (response: Response, text: string): void => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text);
  };

  it.each<[string, string, typeof answer]>([
    ['says the same for ever and calls nothing', 'agent-no-submit', (response) => says(response, 'Again.')],
    ['says nothing at all', 'agent-no-submit', (response) => streamOf(response, [], TOKENS)],
    [
      'calls one tool for ever',
      'agent-iterations',
      (response) => streamOf(response, tool('bash', { command: ':' }), TOKENS),
    ],
    [
      'asks for a tool that does not exist, for ever',
      'agent-iterations',
      (response) => streamOf(response, tool('launch_missiles', {}), TOKENS),
    ],
    [
      'calls a tool with nonsense, for ever',
      'agent-iterations',
      (response) => streamOf(response, tool('edit', { path: 7, content: ['x'] }), TOKENS),
    ],
    ['answers what is no message', 'model-unavailable', (response) => stream(response, 'data: {]\n\n')],
    ['answers a page for people', 'model-unavailable', (response) => page(response)],
    [
      'ends each answer before its end',
      'model-unavailable',
      (response) => stream(response, 'event: ping\ndata: {"type":"ping"}\n\n'),
    ],
  ])('ends, with its reason, where it %s: %s', (_, code, how) =>
    proves(['ORC-109', 'ORC-111'], async () => {
      answer = how;
      const { agentId } = await spawnAgent(mesh, 'quay');
      expect(await agentIn(mesh, agentId, 'failed', 'completed', 'killed')).toMatchObject({
        state: 'failed',
        // More may be said of why, by whoever saw it.
        error: { code, sentence: expect.stringContaining(faultSentence(code).replace(/\.$/, '')) },
        harvest: null,
        completedAt: expect.any(String),
      });
      expect(await salvaged(mesh.instance('quay'), agentId, 'BEGUN.md')).toBe('Begun.');
    })(),
  );

  it('is told of a tool that does not exist, and goes on', async () => {
    const told: string[] = [];
    answer = (response, { body }) => {
      const text = JSON.stringify(body['messages']);
      told.push(text);
      if (text.includes('there is no tool')) streamOf(response, tool('submit', { summary: 'Done' }), TOKENS);
      else streamOf(response, tool('launch_missiles', {}), TOKENS);
    };
    const { agentId } = await spawnAgent(mesh, 'quay');
    expect(await agentIn(mesh, agentId, 'completed', 'failed')).toMatchObject({
      state: 'completed',
      error: null,
      harvest: { files: ['BEGUN.md'] },
    });
    expect(told).toHaveLength(2);
  });

  function says(response: Response, text: string): void {
    streamOf(response, [{ type: 'text', text }], TOKENS);
  }

  function page(response: Response): void {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Down for maintenance</h1>');
  }
});
