import { agentIn, spawnAgent } from '../../support/agents.js';
import { streamOf } from '../../support/model-stream.js';
import { Upstream, type UpstreamRequest } from '../../support/model-upstream.js';
import { proves } from '../../support/proves.js';
import { salvaged } from '../../support/salvage.js';
import type { StartDriver } from '../execution/driver.js';
import { quayOn } from '../execution/quay-on.js';
import { failsWith } from './fails-with.js';

/** How agents end whose model costs too much, or is away: the same on every sandbox. */
export function describePaid(startDriver: StartDriver): void {
  describe('an agent whose model is paid for', () => {
    let upstream: Upstream;
    /** What the model does next; each test sets its own. */
    let answer: (response: Parameters<Parameters<typeof Upstream.start>[0]>[0], request: UpstreamRequest) => void;

    beforeAll(async () => {
      upstream = await Upstream.start((response, request) => answer(response, request));
    });
    const room = quayOn(startDriver, () => ({
      model: { provider: 'anthropic', apiKey: 'sk-ant-test-0123456789', url: upstream.url },
    }));
    afterAll(() => upstream[Symbol.asyncDispose]());

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
        const agentId = await failsWith(room.mesh, { options: { budgetMicroUsd: 60_000 } }, 'agent-budget');
        expect(await salvaged(room.quay(), agentId, 'BUDGET.md')).toBe('Begun.');
        expect(upstream.requests.length - before).toBe(1);
        const { usage } = await room.mesh.client.agent(agentId);
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
        const agentId = await failsWith(room.mesh, {}, 'model-unavailable');
        expect(await salvaged(room.quay(), agentId, 'BEGUN.md')).toBe('Begun.');
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
      const { agentId } = await spawnAgent(room.mesh, 'quay');
      expect(await agentIn(room.mesh, agentId, 'failed', 'completed')).toMatchObject({
        state: 'completed',
        error: null,
        harvest: { files: ['WHOLE.md'] },
      });
    });

    it('has no model where every reply breaks off', async () => {
      answer = (response, request) => {
        if (isFirst(request)) streamOf(response, [edit('BEGUN.md')], { input: 10, output: 10 });
        else breakOff(response);
      };
      const agentId = await failsWith(room.mesh, {}, 'model-unavailable');
      expect(await salvaged(room.quay(), agentId, 'BEGUN.md')).toBe('Begun.');
    });

    /** The connection is lost after the first words. */
    function breakOff(response: Parameters<typeof answer>[0]): void {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const message = { id: 'm', type: 'message', role: 'assistant', model: 'm', content: [], stop_reason: null };
      const start = { type: 'message_start', message: { ...message, usage: { input_tokens: 5, output_tokens: 1 } } };
      response.write(`event: message_start\ndata: ${JSON.stringify(start)}\n\n`, () => response.destroy());
    }
  });
}
