import { type IncomingMessage, request } from 'node:http';
import { AgentState, type AgentWatch, newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { StreamReader } from '../../test/stream-reader.js';
import { TestFederation } from '../../test/test-federation.js';
import type { Ordered, TestSpoke } from '../../test/test-spoke.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let federation: TestFederation;
let hub: TestFederation['hub'];
let spoke: TestSpoke;
let other: TestSpoke;

beforeAll(async () => {
  federation = await TestFederation.start();
  ({ hub, spoke, other } = federation);
});

afterAll(() => federation[Symbol.asyncDispose]());

beforeEach(() => {
  spoke.ordered.length = 0;
  spoke.onOrder = (order) => void answer(order);
});

/** Watches are granted; a page of the log has no further line. */
async function answer(order: Ordered): Promise<void> {
  const { body } = order.command;
  if (body.case !== 'watch' && body.case !== 'logs') return;
  await spoke.offer(spoke.receipt(order, { case: 'logs', value: { lines: [], next: body.value.after } }));
}

function watches(): AgentWatch[] {
  return spoke.ordered.flatMap(({ command: { body } }) => (body.case === 'watch' ? [body.value] : []));
}

async function watched(after?: string): Promise<{ reader: StreamReader; watch: AgentWatch; agentId: string }> {
  const { agentId } = await federation.spawned();
  const reader = await StreamReader.open(hub, `agents/${agentId}/logs/stream`, after);
  return { reader, agentId, watch: await until('a watch', () => watches().find((each) => each.agentId === agentId)) };
}

const tell = (watch: AgentWatch, from: number, to: number, text?: string) =>
  spoke.offer(spoke.lines({ agentId: watch.agentId, watchId: watch.watchId }, from, to, text), 'events');

test(
  'lines are told in order and once, whatever the instance repeats',
  proves('FED-17', async () => {
    const { reader, watch } = await watched();
    await using _ = reader;
    expect(watch).toMatchObject({ after: 0n, leaseMs: 30_000 });
    expect(await tell(watch, 1, 3)).toEqual({ is: 'acknowledged' });
    expect(await tell(watch, 2, 5)).toEqual({ is: 'acknowledged' });
    expect(await tell(watch, 1, 2)).toEqual({ is: 'acknowledged' });
    await reader.next('five lines', ({ sequences }) => sequences.length >= 5);
    expect(reader.sequences).toEqual([1, 2, 3, 4, 5]);
    expect(reader.cursor).toBe('5');
    expect(reader.of('gap')).toEqual([]);
  }),
);

test(
  'what was dropped is told by its numbers, whether the instance says so or not',
  proves('FED-17', async () => {
    const { reader, watch } = await watched('10');
    await using _ = reader;
    expect(watch.after).toBe(10n);
    await tell(watch, 13, 14);
    const gap = await reader.next('the gap', (it) => it.of('gap')[0]);
    expect(gap).toMatchObject({ id: '12', data: '{"after":10,"next":13}' });
    await reader.next('the lines', ({ sequences }) => sequences.length === 2);
    expect(reader.events.map(({ event }) => event)).toEqual(['gap', 'lines']);
  }),
);

test('text of an agent is stripped of control characters', async () => {
  const { reader, watch } = await watched();
  await using _ = reader;
  await tell(watch, 1, 1, '\u001b[2J\u202eevil');
  await reader.next('the line', ({ sequences }) => sequences.length === 1);
  expect(reader.of('lines')[0]?.data).toContain('"text":"[2Jevil 1"');
});

test(
  'a cut of the link in the middle loses no line: the instance is asked again, from the last one on',
  proves('FED-17', async () => {
    const { reader, watch } = await watched();
    await using _ = reader;
    await tell(watch, 1, 4);
    await spoke.disconnect();
    await reader.next('that it is away', (it) => it.of('away').length === 1);
    await spoke.connect();
    const again = await until('the second watch', () => watches().find(({ after }) => after === 4n));
    expect(again.watchId).toBe(watch.watchId);
    await reader.next('that it is back', (it) => it.of('back').length === 1);
    await tell(again, 5, 6);
    await reader.next('all lines', ({ sequences }) => sequences.length === 6);
    expect(reader.sequences).toEqual([1, 2, 3, 4, 5, 6]);
    expect(reader.of('gap')).toEqual([]);
  }),
);

test('a reader that leaves ends the watch at the instance, and late lines harm nobody', async () => {
  const { reader, watch } = await watched();
  await tell(watch, 1, 1);
  await reader[Symbol.asyncDispose]();
  await until('the end of the watch', () =>
    watches().find((each) => each.leaseMs === 0 && each.watchId === watch.watchId),
  );
  expect(await tell(watch, 2, 2)).toEqual({ is: 'acknowledged' });
});

test('the stream ends once the agent has, and every line was told', async () => {
  const { reader, watch, agentId } = await watched();
  await using _ = reader;
  await tell(watch, 1, 2);
  await spoke.offer(spoke.event(agentId, AgentState.FAILED, 9n), 'events');
  await reader.next('the end', (it) => it.isEnded);
  expect(reader.events.map(({ event }) => event)).toEqual(['lines', 'end']);
});

test('what cannot be watched is a problem document', async () => {
  expect(await hub.get('agents/no-such-agent/logs/stream')).toMatchObject({
    status: 404,
    body: { code: 'agent-unknown' },
  });
  const { agentId } = await federation.spawned();
  expect(await hub.get(`agents/${agentId}/logs/stream?after=x`)).toMatchObject({ status: 400 });
  await spoke.disconnect();
  expect(await hub.get(`agents/${agentId}/logs/stream`)).toMatchObject({
    status: 504,
    body: { code: 'instance-away' },
  });
  await spoke.connect();
});

describe('a hostile instance', () => {
  test(
    'can tell lines only of what it was asked for',
    proves('FED-17', async () => {
      const { reader, watch } = await watched();
      await using _ = reader;
      const { agentId, watchId } = watch;
      const refused = (code: string) => ({ is: 'rejected', code, retryable: false });
      // Another instance, with the watch of this one.
      expect(await other.offer(other.lines({ agentId, watchId }, 1, 1), 'events')).toEqual(refused('wrong-issuer'));
      // The instance that was asked, for another agent.
      const { agentId: second } = await federation.spawned();
      expect(await spoke.offer(spoke.lines({ agentId: second, watchId }, 1, 1), 'events')).toEqual(
        refused('wrong-issuer'),
      );
      // A watch that nobody has asked for.
      expect(await spoke.offer(spoke.lines({ agentId, watchId: newId() }, 1, 1), 'events')).toEqual(
        refused('not-found'),
      );
      // More lines than a page may have, and sequences that are no numbers here.
      expect(await tell(watch, 1, 5_001, '')).toEqual(refused('payload-malformed'));
      const beyond = Number.MAX_SAFE_INTEGER + 1;
      expect(await tell(watch, beyond, beyond)).toEqual(refused('payload-malformed'));
      await tell(watch, 1, 1);
      await reader.next('the true line', ({ sequences }) => sequences.length > 0);
      expect(reader.sequences).toEqual([1]);
    }),
  );
});

test(
  'a reader that does not read is not kept the whole log: it gets a gap instead',
  proves('FED-17', async () => {
    const { agentId } = await federation.spawned();
    const headers = { authorization: `Bearer ${hub.token}` };
    const stalled = request(`${hub.url}/api/v1/federation/agents/${agentId}/logs/stream`, { headers });
    const response = await new Promise<IncomingMessage>((resolve) => {
      stalled.once('response', resolve);
      stalled.end();
    });
    response.pause();
    const watch = await until('a watch', () => watches().find((each) => each.agentId === agentId));
    const text = 'x'.repeat(10_000);
    // 20 MB.
    for (let from = 1; from <= 2_000; from += 20) await tell(watch, from, from + 19, text);
    let seen = '';
    response.setEncoding('utf8').on('data', (chunk: string) => (seen += chunk));
    response.resume();
    await until('the last line', () => seen.includes('"sequence":2000,'));
    expect(seen).toContain('event: gap');
    const gaps = [...seen.matchAll(/event: gap\ndata: (.*)\n/g)].map(
      ([, data = '']) => JSON.parse(data) as { next: number },
    );
    expect(seen).toContain(`"sequence":${String(gaps.at(-1)?.next)},`);
    stalled.destroy();
  }),
);
