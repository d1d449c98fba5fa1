import { envelopeDigest } from '@capstan/identity';
import { CommandSchema, decodeStrict, type Envelope, toHex } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../test/processes.js';
import { TestInstance } from '../../test/test-instance.js';

let instance: TestInstance;
beforeAll(async () => {
  instance = await TestInstance.start();
}, 30_000);
afterEach(() => {
  instance.hub.acknowledges = true;
  instance.orchestrator.beforeSpawn = () => true;
  instance.orchestrator.afterSpawn = () => true;
});
afterAll(async () => {
  await instance?.[Symbol.asyncDispose]();
});

function agentOf(spawn: Envelope): string {
  const { body } = decodeStrict(CommandSchema, spawn.payload);
  if (body.case !== 'spawn') throw new Error('no spawn');
  return body.value.agentId;
}

function offersOf(spawn: Envelope): number {
  return instance.orchestrator.offered.filter((id) => id === agentOf(spawn)).length;
}

async function spawned(spawn = instance.spawn()): Promise<Envelope> {
  await instance.hub.send(spawn);
  await instance.receipt(spawn, 'spawned');
  return spawn;
}

/** Sends the command once more and answers with the digests of all receipts that the hub then has. */
async function again(spawn: Envelope): Promise<string[]> {
  const had = instance.hub.envelopesOf(spawn).length;
  await instance.hub.send(spawn);
  return until(() => {
    const all = instance.hub.envelopesOf(spawn);
    return all.length > had && all.map((envelope) => toHex(envelopeDigest(envelope)));
  }, 'the receipt again');
}

async function newLink(): Promise<void> {
  const { links } = instance.hub;
  const had = links.length;
  await links.at(-1)?.close('closed', 'a new socket');
  await instance.hub.link(had);
}

/** Kills Valkey, starts it on what is on disk, and waits until the spoke uses it. */
async function restartValkey(): Promise<void> {
  await instance.valkey.stop('SIGKILL');
  await instance.valkey.start();
  await until(async () => {
    const status = instance.hub.command({ case: 'status', value: { agentId: 'nobody' } });
    const digest = await instance.hub.send(status);
    const hasReceipt = (): boolean => instance.hub.envelopesOf(status).length > 0;
    await until(() => hasReceipt() || instance.hub.rejected.some((each) => each.digest === digest));
    return hasReceipt();
  });
}

describe('a command that comes again gets the original receipt, and has no second effect', () => {
  const ways: [string, () => Promise<void>][] = [
    ['on the same socket', () => Promise.resolve()],
    ['on a new socket', newLink],
    ['after the spoke was killed', () => instance.crashSpoke()],
    ['after Valkey was killed', restartValkey],
  ];
  it.each(ways)(
    '%s',
    (_way, meanwhile) =>
      proves('FED-07', async () => {
        const spawn = await spawned();
        await meanwhile();
        const receipts = await again(spawn);
        expect(new Set(receipts).size).toBe(1);
        expect(offersOf(spawn)).toBe(1);
      })(),
    20_000,
  );

  it(
    'after its time has passed: the first answer may have been lost',
    proves('FED-07', async () => {
      const spawn = await spawned(instance.spawn({}, { lifetimeMs: 400 }));
      const expires = Date.now() + 400;
      await until(() => Date.now() > expires);
      expect(new Set(await again(spawn)).size).toBe(1);
      expect(instance.hub.rejected.map(({ digest }) => digest)).not.toContain(toHex(envelopeDigest(spawn)));
    }),
  );

  it(
    'also when both come at once',
    proves('FED-07', async () => {
      const spawn = instance.spawn();
      await Promise.all([instance.hub.send(spawn), instance.hub.send(spawn), instance.hub.send(spawn)]);
      await instance.receipt(spawn, 'spawned');
      await again(spawn);
      expect(offersOf(spawn)).toBe(1);
      expect(new Set(instance.hub.envelopesOf(spawn).map((envelope) => toHex(envelopeDigest(envelope)))).size).toBe(1);
    }),
  );
});

describe('an accepted spawn survives', () => {
  it(
    'a crash before the orchestrator was asked',
    proves('FED-08', async () => {
      const held = Promise.withResolvers<boolean>();
      instance.orchestrator.beforeSpawn = () => held.promise;
      const spawn = instance.spawn();
      const digest = await instance.hub.send(spawn);
      await until(() => instance.hub.acknowledged.includes(digest));
      await instance.spoke.stop('SIGKILL');
      held.resolve(false);
      instance.orchestrator.beforeSpawn = () => true;
      expect(instance.orchestrator.agents.has(agentOf(spawn))).toBe(false);
      await instance.spoke.start();
      await instance.receipt(spawn, 'spawned');
      expect(instance.orchestrator.agents.has(agentOf(spawn))).toBe(true);
    }),
    20_000,
  );

  it(
    'a crash after the orchestrator has taken it, before that was written down',
    proves('FED-08', async () => {
      const held = Promise.withResolvers<boolean>();
      instance.orchestrator.afterSpawn = () => held.promise;
      const spawn = instance.spawn();
      await instance.hub.send(spawn);
      await until(() => instance.orchestrator.agents.has(agentOf(spawn)));
      await instance.spoke.stop('SIGKILL');
      held.resolve(false);
      instance.orchestrator.afterSpawn = () => true;
      await instance.spoke.start();
      await instance.receipt(spawn, 'spawned');
      expect(offersOf(spawn)).toBe(2);
      expect(instance.orchestrator.agents.get(agentOf(spawn))?.revision).toBe(1);
    }),
    20_000,
  );

  it('an orchestrator that fails for a while', async () => {
    let failures = 3;
    instance.orchestrator.beforeSpawn = (response) => {
      if (failures-- <= 0) return true;
      response.writeHead(503).end();
      return false;
    };
    const spawn = await spawned();
    expect(offersOf(spawn)).toBe(4);
  });
});

describe('a receipt', () => {
  it(
    'is sent again, the same, until the hub has acknowledged it',
    proves('FED-08', async () => {
      instance.hub.acknowledges = false;
      const spawn = await spawned();
      await newLink();
      await until(() => instance.hub.envelopesOf(spawn).length === 2);
      await instance.spoke.stop('SIGKILL');
      instance.hub.acknowledges = true;
      await instance.spoke.start();
      const all = await until(() => {
        const receipts = instance.hub.envelopesOf(spawn);
        return receipts.length === 3 && receipts;
      });
      expect(new Set(all.map((envelope) => toHex(envelopeDigest(envelope)))).size).toBe(1);
      // What came after it on the next link shows that it would have come.
      await newLink();
      await spawned();
      expect(instance.hub.envelopesOf(spawn)).toHaveLength(3);
    }),
    30_000,
  );
});

describe('the spoke’s events', () => {
  it('are neither lost nor told twice when it crashes, and an end is told once', async () => {
    const spawn = await spawned();
    const agentId = agentOf(spawn);
    instance.orchestrator.change(agentId, { state: 'spawning' });
    await until(() => instance.hub.events.some((event) => event.agentId === agentId && event.revision === 2n));
    await instance.spoke.stop('SIGKILL');
    instance.orchestrator.change(agentId, { state: 'running' });
    instance.orchestrator.change(agentId, {
      state: 'failed',
      error: { code: 'agent-crashed', sentence: 'It crashed.' },
    });
    await instance.spoke.start();
    await instance.receipt(spawn, 'finished');
    await instance.crashSpoke();
    await spawned();
    const revisions = instance.hub.events.filter((event) => event.agentId === agentId).map(({ revision }) => revision);
    expect([...new Set(revisions)]).toEqual([1n, 2n, 3n, 4n]);
    const finished = instance.hub.receiptsOf(spawn, instance.keys).filter(({ kind }) => kind === 'finished');
    expect(new Set(finished.map(({ digest }) => toHex(digest))).size).toBe(1);
  }, 30_000);
});

describe('the orchestrator’s forgotten events', () => {
  it('are made up for by the agents’ present states', async () => {
    const spawn = await spawned();
    await instance.spoke.stop('SIGKILL');
    instance.orchestrator.change(agentOf(spawn), { state: 'killed' });
    instance.orchestrator.forgetChanges();
    await instance.spoke.start();
    const { receipt } = await instance.receipt(spawn, 'finished');
    expect(receipt.result).toMatchObject({ value: { revision: 2n } });
  }, 20_000);
});

describe('while Valkey is away', () => {
  it(
    'a command is neither acknowledged nor lost: the hub is asked to come again',
    proves('FED-08', async () => {
      await instance.valkey.stop('SIGKILL');
      const spawn = instance.spawn();
      const digest = await instance.hub.send(spawn);
      const rejected = await until(() => instance.hub.rejected.find((each) => each.digest === digest));
      expect(rejected).toMatchObject({ code: 'queue-unavailable', retryable: true });
      expect(instance.hub.acknowledged).not.toContain(digest);
      await instance.valkey.start();
      await until(async () => {
        await instance.hub.send(spawn);
        return instance.hub.receiptsOf(spawn, instance.keys).some(({ kind }) => kind === 'spawned');
      });
      expect(offersOf(spawn)).toBe(1);
    }),
    20_000,
  );
});

describe('over a series of crashes', () => {
  /** As the hub does: what could not be taken yet is sent again. */
  const sendRejected = async (commands: readonly Envelope[]): Promise<true> => {
    const later = instance.hub.rejected.splice(0).map(({ digest }) => digest);
    for (const each of commands) if (later.includes(toHex(envelopeDigest(each)))) await instance.hub.send(each);
    return true;
  };

  it(
    'each command has exactly one effect and one receipt',
    proves(['FED-07', 'FED-08'], async () => {
      const commands = Array.from({ length: 24 }, () => instance.spawn());
      const isAcknowledged = (command: Envelope): boolean =>
        instance.hub.acknowledged.includes(toHex(envelopeDigest(command)));
      for (let crash = 0; crash < 4; crash++) {
        // As the hub does on each new link: everything that is not acknowledged.
        for (const command of commands.filter((each) => !isAcknowledged(each)).slice(0, 8 * (crash + 1)))
          await instance.hub.send(command);
        const enough = Math.floor(Math.random() * 6 * (crash + 1));
        await until(async () => (await sendRejected(commands)) && commands.filter(isAcknowledged).length >= enough);
        await instance.crashSpoke();
      }
      for (const command of commands) await instance.hub.send(command);
      const isAnswered = (command: Envelope): boolean => instance.hub.envelopesOf(command).length > 0;
      await until(async () => (await sendRejected(commands)) && commands.every(isAnswered), 'all to be answered');
      for (const command of commands) {
        expect(instance.orchestrator.agents.get(agentOf(command))?.revision).toBe(1);
        const receipts = instance.hub.envelopesOf(command).map((envelope) => toHex(envelopeDigest(envelope)));
        expect(new Set(receipts).size).toBe(1);
      }
    }),
    60_000,
  );
});

describe('a spoke that is told to stop', () => {
  it('finishes what it has in hand and ends by itself', async () => {
    const commands = Array.from({ length: 8 }, () => instance.spawn());
    const digests = await Promise.all(commands.map((command) => instance.hub.send(command)));
    await until(() => instance.hub.acknowledged.includes(digests[0] ?? ''));
    const began = performance.now();
    await instance.spoke.stop('SIGTERM');
    expect(performance.now() - began).toBeLessThan(3_000);
    expect(instance.spoke.output).toContain('"stopped"');
    await instance.spoke.start();
    for (const command of commands) {
      await instance.hub.send(command);
      await instance.receipt(command, 'spawned');
      expect(offersOf(command)).toBe(1);
    }
  }, 20_000);
});
