import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Mesh } from '@capstan/localmesh';
import { faultSentence, type FaultCode } from '@capstan/protocol';
import { agentIn, receiptOf, spawnAgent, type SpawnOverrides } from '../support/agents.js';
import { streamOf } from '../support/model-stream.js';
import { Upstream, type UpstreamRequest } from '../support/model-upstream.js';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';
import { isSalvaged, salvaged } from '../support/salvage.js';
import { until } from '../support/until.js';

jest.setTimeout(120_000);

/** Everything that ends otherwise than by a push: the state, the code and its sentence, as the hub was told and signed. */
async function failsWith(mesh: Mesh, order: SpawnOverrides, code: FaultCode): Promise<string> {
  const { agentId } = await spawnAgent(mesh, 'quay', order);
  const agent = await agentIn(mesh, agentId, 'failed', 'completed', 'killed');
  expect(agent).toMatchObject({
    state: 'failed',
    // An outage of the model is told with its reason.
    error: { code, sentence: expect.stringContaining(faultSentence(code).replace(/\.$/, '')) },
    harvest: null,
    completedAt: expect.any(String),
  });
  const receipt = await receiptOf(mesh, agentId, 'finished');
  expect(receipt).toMatchObject({ verified: true, result: { state: 'failed', error: { code } } });
  await until('its log ends with what became of its work', async () => {
    const { lines } = await mesh.client.logs(agentId, { limit: 5000 });
    return lines.some(({ source, text }) => source === 'system' && text.includes('nfinished work'));
  });
  await until(
    'nothing of it is left on disk',
    () => readdirSync(join(mesh.instance('quay').dir, 'agents')).length === 0,
  );
  const branches = git(mesh.repository?.path ?? '', 'for-each-ref', '--format=%(refname)', 'refs/heads/capstan');
  expect(branches).toBe('');
  return agentId;
}

describe('an agent that does not end as it should', () => {
  const repository = new TestRepository();
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  const quay = () => mesh.instance('quay');

  it(
    'is stopped when its time is over, in the middle of a command, and its work is kept',
    proves(['ORC-109', 'ORC-111', 'ORC-118'], async () => {
      const order = { playbook: 'long-run', options: { timeoutMs: 4_000 } };
      const agentId = await failsWith(mesh, order, 'agent-timeout');
      expect(await salvaged(quay(), agentId, 'WATCH.md')).toBe('The watch has begun.');
    }),
  );

  it(
    'stops without a submit, after it was reminded, and its work is kept',
    proves(['ORC-109', 'ORC-111', 'ORC-118'], async () => {
      const agentId = await failsWith(mesh, { playbook: 'never-submit' }, 'agent-no-submit');
      expect(await salvaged(quay(), agentId, 'HALF.md')).toBe('Half of the work.');
    }),
  );

  it(
    'crashes, and its work is kept',
    proves(['ORC-109', 'ORC-111', 'ORC-118'], async () => {
      const agentId = await failsWith(mesh, { playbook: 'crash' }, 'agent-crashed');
      expect(await salvaged(quay(), agentId, 'BEGUN.md')).toBe('Half of the work.');
    }),
  );

  it(
    'submits nothing, and there is nothing to keep',
    proves(['ORC-109', 'ORC-118'], async () => {
      const agentId = await failsWith(mesh, { playbook: 'no-change' }, 'agent-no-change');
      expect(isSalvaged(quay(), agentId)).toBe(false);
    }),
  );

  it(
    'uses all its iterations',
    proves('ORC-109', async () => {
      const agentId = await failsWith(mesh, { playbook: 'endless' }, 'agent-iterations');
      expect((await mesh.client.agent(agentId)).usage.requests).toBe(200);
    }),
  );

  it.each(['embedded-repository', 'garbage'])('leaves what must not get into a repository: %s', (playbook) =>
    proves('SEC-02', async () => {
      await failsWith(mesh, { playbook }, 'harvest-refused');
    })(),
  );

  it('asks for a playbook that does not exist', async () => {
    await failsWith(mesh, { playbook: 'no-such-playbook' }, 'model-unavailable');
  });
});

describe('an agent whose model is paid for', () => {
  const repository = new TestRepository();
  let upstream: Upstream;
  let mesh: Mesh;
  /** What the model does next; each test sets its own. */
  let answer: (response: Parameters<Parameters<typeof Upstream.start>[0]>[0], request: UpstreamRequest) => void;

  beforeAll(async () => {
    upstream = await Upstream.start((response, request) => answer(response, request));
    const model = { provider: 'anthropic' as const, apiKey: 'sk-ant-test-0123456789', url: upstream.url };
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, model });
  });
  afterAll(async () => {
    await mesh.stop();
    await upstream[Symbol.asyncDispose]();
    repository[Symbol.dispose]();
  });

  const edit = (path: string) => ({
    type: 'tool_use',
    id: `toolu_${path.replace('.', '_')}`,
    name: 'edit',
    input: { path, content: 'Begun.\n' },
  });
  const refuse = (response: Parameters<typeof answer>[0], status: number, type: string): void => {
    response
      .writeHead(status, { 'content-type': 'application/json', 'x-should-retry': 'false' })
      .end(JSON.stringify({ type: 'error', error: { type, message: 'no' } }));
  };
  const isFirst = ({ body }: UpstreamRequest): boolean => (body['messages'] as unknown[]).length === 1;

  it(
    'is stopped by its budget before it can pass it, and its work is kept',
    proves(['ORC-L3', 'ORC-109', 'ORC-111'], async () => {
      const before = upstream.requests.length;
      // The default model's reply of 5,900 tokens costs 0.059 of 0.06 dollars: no further request fits.
      answer = (response) => streamOf(response, [edit('BUDGET.md')], { input: 10, output: 5_900 });
      const agentId = await failsWith(mesh, { options: { budgetMicroUsd: 60_000 } }, 'agent-budget');
      expect(await salvaged(mesh.instance('quay'), agentId, 'BUDGET.md')).toBe('Begun.');
      expect(upstream.requests.length - before).toBe(1);
      const { usage } = await mesh.client.agent(agentId);
      expect(usage).toMatchObject({ requests: 1, inputTokens: 10, outputTokens: 5_900, costMicroUsd: 59_020 });
    }),
  );

  it.each([
    ['does not take the key', 401, 'authentication_error'],
    ["is unpaid, which is not the agent's own budget", 402, 'billing_error'],
    ['is overloaded for good', 529, 'overloaded_error'],
  ])('has no model where the model %s; its work is kept', (_, status, type) =>
    proves(['ORC-109', 'ORC-111'], async () => {
      answer = (response, request) => {
        if (isFirst(request)) streamOf(response, [edit('BEGUN.md')], { input: 10, output: 10 });
        else refuse(response, status, type);
      };
      const agentId = await failsWith(mesh, {}, 'model-unavailable');
      expect(await salvaged(mesh.instance('quay'), agentId, 'BEGUN.md')).toBe('Begun.');
    })(),
  );

  it('goes on when a reply breaks off once', async () => {
    let breaks = 1;
    answer = (response, request) => {
      if (isFirst(request)) streamOf(response, [edit('WHOLE.md')], { input: 10, output: 10 });
      else if (breaks-- > 0) breakOff(response);
      else
        streamOf(response, [{ type: 'tool_use', id: 'toolu_s', name: 'submit', input: { summary: 'Whole' } }], {
          input: 10,
          output: 10,
        });
    };
    const { agentId } = await spawnAgent(mesh, 'quay');
    expect(await agentIn(mesh, agentId, 'failed', 'completed')).toMatchObject({
      state: 'completed',
      error: null,
      harvest: { files: ['WHOLE.md'] },
    });
    git(
      mesh.repository?.path ?? '',
      'update-ref',
      '-d',
      `refs/heads/capstan/${(await mesh.client.agent(agentId)).taskId}`,
    );
  });

  it('has no model where every reply breaks off', async () => {
    answer = (response, request) => {
      if (isFirst(request)) streamOf(response, [edit('BEGUN.md')], { input: 10, output: 10 });
      else breakOff(response);
    };
    const agentId = await failsWith(mesh, {}, 'model-unavailable');
    expect(await salvaged(mesh.instance('quay'), agentId, 'BEGUN.md')).toBe('Begun.');
  });

  /** The connection is lost after the first words. */
  function breakOff(response: Parameters<typeof answer>[0]): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const message = { id: 'm', type: 'message', role: 'assistant', model: 'm', content: [], stop_reason: null };
    const start = { type: 'message_start', message: { ...message, usage: { input_tokens: 5, output_tokens: 1 } } };
    response.write(`event: message_start\ndata: ${JSON.stringify(start)}\n\n`, () => response.destroy());
  }
});
