import { OrchestratorClient } from '@capstan/platform';
import { newId } from '@capstan/protocol';
import { ownSpawn, TestApi } from '../../test/test-api.js';
import { TOKEN } from '../../test/test-instance.js';

describe('messages to agents, over the API', () => {
  let api: TestApi;
  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());

  it('are refused with a code that says why', async () => {
    const target = { path: api.socket };
    const client = new OrchestratorClient({ target, token: async () => TOKEN, patienceMs: 0 });
    try {
      const waiting = await client.spawn({
        taskId: newId(),
        agentType: 'worker',
        context: { repository: '/srv/repository', workItems: ['Wait.'] },
      });
      await expect(client.message(waiting, 'Hello')).rejects.toMatchObject({ code: 'agent-not-running' });
      await expect(client.message(newId(), 'Hello')).rejects.toMatchObject({ code: 'agent-unknown' });
      await api.call('POST', `/agents/${waiting}/kill`);
      await expect(client.message(waiting, 'Hello')).rejects.toMatchObject({ code: 'agent-ended' });
    } finally {
      client.close();
    }
  });

  it.each([
    ['empty', { text: ' \n' }],
    ['too long', { text: 'x'.repeat(20_001) }],
    ['no text', { text: 7 }],
    ['under no id', { text: 'Hello', messageId: 'No Id' }],
  ])('are not taken where they are %s', async (_, message) => {
    const { agentId } = (await api.call<{ agentId: string }>('POST', '/agents/spawn', ownSpawn())).body;
    const { status, body } = await api.call('POST', `/agents/${agentId}/messages`, message);
    expect({ status, code: body['code'] }).toEqual({ status: 400, code: 'validation' });
  });
});
