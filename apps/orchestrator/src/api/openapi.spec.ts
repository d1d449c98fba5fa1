import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { ownSpawn, TestApi } from '../../test/test-api.js';

const FILE = join(__dirname, '../../../../docs/reference/openapi/orchestrator.json');

interface Operation {
  security: unknown[];
  responses: Record<string, { content?: Record<string, { schema: object }> }>;
}
const document = JSON.parse(readFileSync(FILE, 'utf8')) as { paths: Record<string, Record<string, Operation>> };
const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
);

/** What a schema does not name, an answer must not have: else nobody would notice a field without words. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== 'object' || value === null) return value;
  const inner = Object.fromEntries(Object.entries(value).map(([key, each]) => [key, closed(each)]));
  const isShape = inner['type'] === 'object' && 'properties' in inner && !('additionalProperties' in inner);
  return isShape ? { ...inner, additionalProperties: false } : inner;
}

const ajv = new Ajv({ strict: false, validateSchema: false, validateFormats: false });
ajv.addSchema(closed(document) as object, 'document');

/** @throws Error where an answer of this kind is not documented */
function faultsOf(method: string, path: string, answer: { status: number; type: string; body: unknown }): unknown {
  const operation = document.paths[path]?.[method.toLowerCase()];
  const type = answer.type.split(';')[0] ?? '';
  if (operation?.responses[String(answer.status)]?.content?.[type] === undefined)
    throw new Error(`${method} ${path} is not said to answer ${String(answer.status)} with ${type}`);
  const pointer = ['paths', path, method.toLowerCase(), 'responses', String(answer.status), 'content', type, 'schema'];
  const escaped = pointer.map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')));
  const validate = ajv.compile({ $ref: `document#/${escaped.join('/')}` });
  return validate(answer.body) ? [] : validate.errors;
}

describe('the OpenAPI document of the orchestrator', () => {
  let api: TestApi;
  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());

  it(
    'has every route of the running application, and no other',
    proves('ORC-129', () => {
      const words = documented.map(({ method, path }) => `${method} ${path.replace(/\{(\w+)\}/g, ':$1')}`);
      expect(words.sort()).toEqual([...api.routes].sort());
      expect(words.length).toBeGreaterThan(20);
    }),
  );

  it(
    'says which routes ask for the token',
    proves('ORC-129', async () => {
      for (const { method, path, operation } of documented) {
        const { status } = await api.call(method, path.replace(/\{\w+\}/g, 'a'), undefined, 'wrong');
        expect({ method, path, isOpen: status !== 401 }).toEqual({
          method,
          path,
          isOpen: operation.security.length === 0,
        });
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
          expect({ method, path, faults: faultsOf(method, path, answer) }).toMatchObject({ faults: [] });
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
