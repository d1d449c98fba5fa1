import { AgentState, newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { TestFederation } from '../../test/test-federation.js';
import { type Ordered, type Result, snapshot, type TestSpoke } from '../../test/test-spoke.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let federation: TestFederation;
let hub: TestFederation['hub'];
let spoke: TestSpoke;
let connection: string;

beforeAll(async () => {
  federation = await TestFederation.start();
  ({ hub, spoke } = federation);
  const { body } = await hub.get<{ id: string; instanceId: string }[]>('connections');
  connection = body.find(({ instanceId }) => instanceId === 'harbor')?.id ?? '';
});

afterAll(() => federation[Symbol.asyncDispose]());

/** Answers each question with what `make` gives. */
function answering(make: (order: Ordered) => Result): void {
  spoke.onOrder = (order) => void spoke.offer(spoke.receipt(order, make(order)));
}

const catalog: Result = {
  case: 'catalog',
  value: {
    runtimes: ['claude'],
    sandboxes: ['bubblewrap'],
    repositories: ['/srv/\u001b[31mrepo'],
    tenants: ['default'],
    concurrency: 4,
    budgetMicroUsd: 1_000_000n,
    timeoutMs: 60_000n,
    version: '0.1.0',
  },
};

test(
  'the catalog of an instance is what it has just signed, safe to print',
  proves('FED-17', async () => {
    answering(() => catalog);
    expect(await hub.get(`connections/${connection}/catalog`)).toMatchObject({
      status: 200,
      body: {
        instance: 'harbor',
        runtimes: ['claude'],
        repositories: ['/srv/[31mrepo'],
        concurrency: 4,
        budgetMicroUsd: 1_000_000,
        timeoutMs: 60_000,
        version: '0.1.0',
      },
    });
  }),
);

test(
  'the agents of an instance come by pages',
  proves('FED-17', async () => {
    const agents = [snapshot('agent-2', AgentState.RUNNING, 3n), snapshot('agent-1', AgentState.COMPLETED, 9n)];
    answering(({ command: { body } }) => ({
      case: 'agents',
      value:
        body.case === 'agents' && body.value.after === ''
          ? { agents: agents.slice(0, 1), next: 'agent-2' }
          : { agents: agents.slice(1), next: '' },
    }));
    const page = await hub.get<{ next: string }>(`connections/${connection}/agents?limit=1`);
    expect(page).toMatchObject({
      status: 200,
      body: { agents: [{ agentId: 'agent-2', state: 'running' }], next: 'agent-2' },
    });
    expect((await hub.get(`connections/${connection}/agents?limit=1&after=${page.body.next}`)).body).toMatchObject({
      agents: [{ agentId: 'agent-1', state: 'completed' }],
      next: '',
    });
  }),
);

describe('a hostile answer is refused', () => {
  const page = (...agents: ReturnType<typeof snapshot>[]): Result => ({ case: 'agents', value: { agents, next: '' } });
  const many = Array.from({ length: 3 }, (_, at) => snapshot(`agent-${String(at)}`, AgentState.RUNNING, 1n));

  test.each<[string, string, Result, number, string]>([
    ['more agents than were asked for', 'agents?limit=2', page(...many), 400, 'payload-malformed'],
    ['an id that is none', 'agents', page(snapshot('../etc', AgentState.RUNNING, 1n)), 400, 'id-malformed'],
    ['a state that is none', 'agents', page(snapshot('agent-9', AgentState.UNSPECIFIED, 1n)), 400, 'payload-malformed'],
    [
      'a page behind itself',
      'agents?after=x',
      { case: 'agents', value: { agents: [], next: 'x' } },
      400,
      'payload-malformed',
    ],
    ['its own refusal', 'catalog', { case: 'refused', value: { code: 'orchestrator-lost' } }, 502, 'orchestrator-lost'],
  ])('%s', async (_what, path, result, status, code) => {
    answering(() => result);
    expect(await hub.get(`connections/${connection}/${path}`)).toMatchObject({ status, body: { code } });
  });

  test('an agent that is on another instance', async () => {
    const agentId = newId();
    await hub.post('agents/spawn', federation.spawnBody({ instance: 'quay', agentId }));
    answering(() => page(snapshot(agentId, AgentState.RUNNING, 1n)));
    expect(await hub.get(`connections/${connection}/agents`)).toMatchObject({ body: { code: 'wrong-issuer' } });
  });

  test('a receipt of another kind, for another question, or of another key is no answer', async () => {
    const verdicts: unknown[] = [];
    spoke.onOrder = (order) => {
      const tell = async (): Promise<void> => {
        verdicts.push(await spoke.offer(spoke.receipt(order, page())));
        verdicts.push(await spoke.offer(spoke.receipt(order, catalog, { commandDigest: new Uint8Array(32) })));
        verdicts.push(await spoke.offer(spoke.receipt(order, catalog, {}, spoke.reaper)));
        verdicts.push(await spoke.offer(spoke.receipt(order, catalog)));
      };
      void tell();
    };
    expect((await hub.get(`connections/${connection}/catalog`)).status).toBe(200);
    expect(verdicts.slice(0, 3)).toMatchObject([
      { code: 'receipt-mismatch' },
      { code: 'receipt-mismatch' },
      { code: 'key-purpose' },
    ]);
  });
});

test('an instance that rejects the question, or is away, is told as that and at once', async () => {
  spoke.onOrder = (order) => void spoke.reject(order, 'queue-unavailable', true);
  expect(await hub.get(`connections/${connection}/catalog`)).toMatchObject({
    status: 503,
    body: { code: 'queue-unavailable' },
  });
  await spoke.disconnect();
  expect(await hub.get(`connections/${connection}/catalog`)).toMatchObject({
    status: 504,
    body: { code: 'instance-away' },
  });
  expect(await hub.get(`connections/${newId()}/catalog`)).toMatchObject({ status: 404, body: { code: 'not-found' } });
});
