import { AgentState } from '@capstan/protocol';
import { startTestPostgres } from '../../../../test/support/postgres.js';
import { proves } from '../../../../test/support/proves.js';
import { StreamReader } from '../../test/stream-reader.js';
import { TestFederation } from '../../test/test-federation.js';
import { TestHub } from '../../test/test-hub.js';
import { TestSpoke } from '../../test/test-spoke.js';
import type { HubEvent } from './hub-event.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let federation: TestFederation;
let hub: TestFederation['hub'];
let spoke: TestFederation['spoke'];
let other: TestFederation['other'];

beforeAll(async () => {
  federation = await TestFederation.start();
  ({ hub, spoke, other } = federation);
});

afterAll(() => federation[Symbol.asyncDispose]());

const told = (reader: StreamReader): HubEvent[] =>
  reader.events.filter(({ event }) => event !== 'open').map(({ data }) => JSON.parse(data) as HubEvent);

/** Revisions of one agent, in the order in which they were told. */
const revisionsOf = (reader: StreamReader, agentId: string): unknown[] =>
  told(reader)
    .filter(({ kind, subject }) => kind === 'agent.reported' && subject === agentId)
    .map(({ detail }) => detail['revision']);

test(
  'commands, receipts and agents are told as they change, each with a cursor that only grows',
  proves('FED-17', async () => {
    await using reader = await StreamReader.open(hub, 'events');
    const { agentId, commandId, order } = await federation.spawned();
    await spoke.acknowledge(order);
    await spoke.offer(
      spoke.receipt(order, { case: 'spawned', value: { agentId, state: AgentState.QUEUED, revision: 1n } }),
    );
    await spoke.offer(spoke.event(agentId, AgentState.RUNNING, 2n), 'events');
    await reader.next('the agent', (it) => revisionsOf(it, agentId).length === 1);
    const mine = told(reader).filter(({ subject }) => subject === commandId || subject === agentId);
    expect(mine.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['command.issued', 'command.delivered', 'receipt.stored', 'agent.reported']),
    );
    const cursors = told(reader).map(({ cursor }) => Number(cursor));
    expect(cursors).toEqual([...cursors].sort((a, b) => a - b));
    expect(reader.events.slice(1).map(({ id }) => Number(id))).toEqual(cursors);
  }),
);

test(
  'a reader that was cut off goes on by its cursor: nothing is lost and nothing comes twice',
  proves('FED-17', async () => {
    const { agentId } = await federation.spawned();
    const first = await StreamReader.open(hub, 'events');
    for (let revision = 1n; revision <= 5n; revision += 1n)
      await spoke.offer(spoke.event(agentId, AgentState.RUNNING, revision), 'events');
    await first.next('three of them', (it) => revisionsOf(it, agentId).length >= 3);
    await first[Symbol.asyncDispose]();
    for (let revision = 6n; revision <= 700n; revision += 1n)
      void spoke.offer(spoke.event(agentId, AgentState.RUNNING, revision), 'events');
    await using second = await StreamReader.open(hub, 'events', first.cursor);
    await second.next('the last one', (it) => revisionsOf(it, agentId).at(-1) === 700);
    expect([...revisionsOf(first, agentId), ...revisionsOf(second, agentId)]).toEqual(
      Array.from({ length: 700 }, (_, at) => at + 1),
    );
  }),
);

test(
  'what the instance repeats after a cut of its link is told once, and an older revision not at all',
  proves('FED-17', async () => {
    const { agentId } = await federation.spawned();
    await using reader = await StreamReader.open(hub, 'events');
    const events = [1n, 2n, 3n].map((revision) => spoke.event(agentId, AgentState.RUNNING, revision));
    for (const event of events) await spoke.offer(event, 'events');
    await spoke.disconnect();
    await spoke.connect();
    for (const event of events) expect(await spoke.offer(event, 'events')).toEqual({ is: 'acknowledged' });
    await spoke.offer(spoke.event(agentId, AgentState.QUEUED, 1n), 'events');
    await spoke.offer(spoke.event(agentId, AgentState.FAILED, 4n), 'events');
    await reader.next('the end', (it) => revisionsOf(it, agentId).includes(4));
    expect(revisionsOf(reader, agentId)).toEqual([1, 2, 3, 4]);
  }),
);

test('an instance cannot tell of an agent of another', async () => {
  const { agentId } = await federation.spawned();
  await using reader = await StreamReader.open(hub, 'events');
  expect(await other.offer(other.event(agentId, AgentState.KILLED, 9n), 'events')).toMatchObject({
    code: 'wrong-issuer',
  });
  await spoke.offer(spoke.event(agentId, AgentState.RUNNING, 1n), 'events');
  await reader.next('the true word', (it) => revisionsOf(it, agentId).length > 0);
  expect(revisionsOf(reader, agentId)).toEqual([1]);
});

test('from the beginning everything is told, also to many readers at once', async () => {
  const readers = await Promise.all(Array.from({ length: 10 }, () => StreamReader.open(hub, 'events?after=0')));
  const { agentId } = await federation.spawned();
  await spoke.offer(spoke.event(agentId, AgentState.RUNNING, 1n), 'events');
  for (const reader of readers) {
    await reader.next('the newest', (it) => revisionsOf(it, agentId).length === 1);
    expect(told(reader).some(({ kind }) => kind === 'connection.enrolled')).toBe(true);
    expect(told(reader).length).toBe(new Set(told(reader).map(({ cursor }) => cursor)).size);
  }
  await Promise.all(readers.map((reader) => reader[Symbol.asyncDispose]()));
});

test('a cursor that this record does not have yet is told as a gap', async () => {
  await using reader = await StreamReader.open(hub, 'events', '999999999');
  expect(await reader.next('the first event', (it) => it.events[0])).toMatchObject({ event: 'gap' });
  expect((await hub.get('events?after=-1')).status).toBe(400);
});

test('a hub that closes ends its streams, and the next one goes on where they were', async () => {
  const postgres = await startTestPostgres();
  const first = await TestHub.start(await postgres.freshDatabase());
  const reader = await StreamReader.open(first, 'events');
  await using instance = await TestSpoke.connected(first, 'harbor');
  await reader.next('the enrolment', (it) => it.of('connection.enrolled')[0]);
  await instance.disconnect();
  const second = await first.successor();
  const before = Date.now();
  await first.stop();
  expect(Date.now() - before).toBeLessThan(5_000);
  await reader.next('the end', (it) => it.isEnded);
  const again = await StreamReader.open(second, 'events', reader.cursor);
  expect(await again.next('the first event', (it) => it.events[0])).toMatchObject({ event: 'open', id: reader.cursor });
  await again[Symbol.asyncDispose]();
  await second[Symbol.asyncDispose]();
  await postgres.stop();
});
