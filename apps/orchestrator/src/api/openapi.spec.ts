import { newId } from '@capstan/protocol';
import { ApiDocument } from '../../../../test/support/api-document.js';
import { proves } from '../../../../test/support/proves.js';
import { ownSpawn, TestApi } from '../../test/test-api.js';

const document = new ApiDocument('orchestrator');

describe('the OpenAPI document of the orchestrator', () => {
  let api: TestApi;
  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());

  it(
    'has every route of the running application, and no other',
    proves('ORC-129', () => {
      const words = document.routes.map(({ method, path }) => `${method} ${path.replace(/\{(\w+)\}/g, ':$1')}`);
      expect(words.sort()).toEqual([...api.routes].sort());
      expect(words.length).toBeGreaterThan(20);
    }),
  );

  it(
    'says which routes ask for the token',
    proves('ORC-129', async () => {
      for (const { method, path, isOpen } of document.routes) {
        const { status } = await api.call(method, path.replace(/\{\w+\}/g, 'a'), undefined, 'wrong');
        expect({ method, path, isOpen: status !== 401 }).toEqual({ method, path, isOpen });
      }
    }),
  );

  it(
    'takes what the routes take, and no more',
    proves('ORC-129', async () => {
      const ids = { taskId: 'No Id', agentId: 'No Id', tenant: 'No Id' };
      const bodies: [boolean, Record<string, unknown>][] = [
        [true, ownSpawn()],
        ...Object.entries(ids).map(([name, id]): [boolean, Record<string, unknown>] => [
          false,
          ownSpawn({ [name]: id }),
        ]),
        [false, ownSpawn({ options: { timeout: 1_000.5 } })],
      ];
      for (const [isTaken, body] of bodies) {
        const { status } = await api.call('POST', '/agents/spawn', body);
        const wanted = { body, isTaken, isAnswered: isTaken };
        expect({ body, isTaken: document.takes('POST', '/agents/spawn', body), isAnswered: status !== 400 }).toEqual(
          wanted,
        );
      }
    }),
  );

  it(
    'describes what is answered, and refused',
    proves('ORC-129', async () => {
      const check = async (
        wanted: number,
        method: string,
        path: string,
        body?: unknown,
        ids = '',
      ): Promise<unknown> => {
        const answer = await api.call(method, path.replace(/\{\w+\}/, ids), body);
        expect({ method, path, status: answer.status }).toEqual({ method, path, status: wanted });
        if (wanted !== 204)
          expect({ method, path, faults: document.faultsOf(method, path, answer) }).toMatchObject({ faults: [] });
        return answer.body;
      };
      const order = ownSpawn({ agentId: newId() });
      const { agentId, taskId } = { agentId: String(order['agentId']), taskId: String(order['taskId']) };
      await check(202, 'POST', '/agents/spawn', order);
      await check(409, 'POST', '/agents/spawn', ownSpawn({ agentId }));
      await check(400, 'POST', '/agents/spawn', { taskId: 'No Id' });
      await check(422, 'POST', '/agents/spawn', ownSpawn({ tenant: 'other' }));
      await check(200, 'GET', '/agents');
      await check(200, 'GET', '/agents/{id}/status', undefined, agentId);
      await check(400, 'GET', '/agents/{id}/status', undefined, 'No%20Id');
      await check(404, 'GET', '/agents/{id}/status', undefined, newId());
      await check(200, 'GET', '/agents/{id}/samples', undefined, agentId);
      await check(200, 'GET', '/agents/{id}/logs', undefined, agentId);
      await check(409, 'POST', '/agents/{id}/messages', { text: 'Hello.' }, agentId);
      await check(400, 'POST', '/commands', { envelope: 'AAAA' });
      await check(200, 'GET', '/tasks/{id}', undefined, taskId);
      await check(404, 'GET', '/tasks/{id}', undefined, newId());
      for (const path of ['/queue', '/queue/counts', '/sandboxes', '/secrets/wanted', '/health', '/health/ready'])
        await check(200, 'GET', path);
      await check(200, 'POST', '/queue/pause');
      await check(200, 'POST', '/queue/resume');
      await check(200, 'POST', '/agents/{id}/kill', undefined, newId());
      await check(200, 'POST', '/tasks/{id}/kill', {}, taskId);
      await check(200, 'POST', '/agents/{id}/noticed-kill', undefined, newId());
      await check(200, 'POST', '/agents/kill-all', { reason: 'a test' });
      await check(409, 'POST', '/agents/spawn', ownSpawn());
      await check(204, 'POST', '/agents/noticed-kill-all');
      await check(204, 'POST', '/agents/rearm');
    }),
  );
});
