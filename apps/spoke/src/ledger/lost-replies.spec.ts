import { CommandSchema, decodeStrict, type Envelope } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { ValkeyRelay } from '../../../../test/support/valkey-relay.js';
import { until } from '../../test/processes.js';
import { TestInstance } from '../../test/test-instance.js';
import { KEYS } from './keys.js';

let relay: ValkeyRelay;
let instance: TestInstance;
beforeAll(async () => {
  instance = await TestInstance.start(async (url) => {
    relay = await ValkeyRelay.start(url);
    return relay.url;
  });
}, 60_000);
afterAll(async () => {
  await instance?.[Symbol.asyncDispose]();
  await relay?.[Symbol.asyncDispose]();
});

function agentOf(spawn: Envelope): string {
  const { body } = decodeStrict(CommandSchema, spawn.payload);
  if (body.case !== 'spawn') throw new Error('no spawn');
  return body.value.agentId;
}

/** Scripts by their keys, which stand behind their digest and the number of their keys. */
const settles = ([, , , second = '']: readonly string[]): boolean => second === KEYS.offers;
const publishes = ([, , first = '']: readonly string[]): boolean => first === KEYS.eventCursor;

describe('a step of the spoke’s whose reply is lost', () => {
  it(
    'takes a command once, and answers it when it comes again',
    proves(['FED-07', 'FED-08'], async () => {
      const spawn = instance.spawn();
      relay.loseReply((args) => args.includes('spawn') && args.includes(agentOf(spawn)));
      const digest = await instance.hub.send(spawn);
      const told = (): boolean => instance.hub.rejected.some((each) => each.digest === digest && each.retryable);
      await until(told, 'the hub is asked to come again');
      await instance.hub.send(spawn);
      await instance.receipt(spawn, 'spawned');
      expect([relay.lost, instance.orchestrator.offered.filter((id) => id === agentOf(spawn)).length]).toEqual([1, 1]);
    }),
    60_000,
  );

  it(
    'leaves no receipt and no event behind in the outbox, on the same link',
    proves('FED-08', async () => {
      const { links } = instance.hub;
      const had = [links.length, relay.lost];
      const spawn = instance.spawn();
      relay.loseReply(settles);
      await instance.hub.send(spawn);
      await instance.receipt(spawn, 'spawned');
      const agentId = agentOf(spawn);
      for (const state of ['spawning', 'running'] as const) instance.orchestrator.change(agentId, { state });
      await until(() => instance.hub.events.some((event) => event.agentId === agentId && event.revision === 3n));
      relay.loseReply(publishes);
      instance.orchestrator.change(agentId, { state: 'completed' });
      await instance.receipt(spawn, 'finished');
      expect([links.length, relay.lost]).toEqual([had[0], (had[1] ?? 0) + 2]);
      await until(async () => (await instance.outboxSize()) === 0, 'the outbox is empty');
    }),
    120_000,
  );
});
