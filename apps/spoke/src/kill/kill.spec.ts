import { envelopeDigest, signPayload, SigningKey } from '@capstan/identity';
import { type Envelope, KillScope, newId, toHex } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../test/processes.js';
import type { HeaderChange } from '../../test/stand-in-hub.js';
import { registeredProcess } from '../../test/registered-process.js';
import { TestInstance } from '../../test/test-instance.js';

let instance: TestInstance;
beforeAll(async () => {
  instance = await TestInstance.start();
}, 30_000);
afterAll(async () => {
  await instance?.[Symbol.asyncDispose]();
});

function kill(agentId = `agent-${newId()}`, header: HeaderChange = {}): Envelope {
  return instance.hub.command({ case: 'kill', value: { agentId, reason: 'a test' } }, header);
}

async function answered(command: Envelope, count = 1): Promise<string[]> {
  return until(
    () => {
      const all = instance.hub.envelopesOf(command);
      return all.length >= count && all.map((envelope) => toHex(envelopeDigest(envelope)));
    },
    `${String(count)} receipts`,
  );
}

describe('a kill', () => {
  it(
    'is answered with the reaper’s own observation of the death',
    proves('FED-05', async () => {
      const agentId = `agent-${newId()}`;
      const { exited, pid } = await registeredProcess(instance.dir, agentId);
      const command = kill(agentId);
      const digest = await instance.hub.send(command, 'kill');
      const { observation } = await instance.receipt(command, 'killed');
      await exited;
      expect(observation).toMatchObject({ agentId, outcome: 'killed', verified: true });
      expect(observation?.processes.map((process) => process.pid)).toContain(pid);
      expect(instance.hub.acknowledged).toContain(digest);
      await until(() => instance.orchestrator.noticed.includes(agentId));
    }),
    20_000,
  );

  it('overtakes on the kill lane, both ways', async () => {
    const command = kill();
    await instance.hub.send(command, 'kill');
    await answered(command);
    expect(instance.hub.receipts.at(-1)?.lane).toBe('kill');
  });

  it('of an agent that was never seen leaves a tombstone', async () => {
    const command = kill();
    await instance.hub.send(command, 'kill');
    expect((await instance.receipt(command, 'killed')).observation).toMatchObject({ outcome: 'tombstoned' });
  });

  it('is exempt from clocks', async () => {
    for (const nowMs of [Date.now() - 3_600_000, Date.now() + 3_600_000]) {
      const command = kill(undefined, { nowMs });
      await instance.hub.send(command, 'kill');
      await instance.receipt(command, 'killed');
    }
  });

  it.each<[string, () => Envelope]>([
    ['wrong-audience', () => kill('x', { audience: 'quay' })],
    ['key-unknown', () => signPayload(SigningKey.generate(), 'command', kill().payload)],
    ['signature-invalid', () => ({ ...kill(), payload: kill().payload })],
  ])('is not exempt from %s', (code, make) =>
    proves('FED-06', async () => {
      const digest = await instance.hub.send(make(), 'kill');
      expect(await until(() => instance.hub.rejected.find((each) => each.digest === digest))).toMatchObject({ code });
    })(),
  );

  it(
    'that comes again gets the original receipt: same socket, and after a crash',
    proves('FED-07', async () => {
      const command = kill();
      await instance.hub.send(command, 'kill');
      await answered(command);
      await instance.hub.send(command, 'kill');
      expect(new Set(await answered(command, 2)).size).toBe(1);
      await instance.crashSpoke();
      const had = instance.hub.envelopesOf(command).length;
      await instance.hub.send(command, 'kill');
      expect(new Set(await answered(command, had + 1)).size).toBe(1);
    }),
    20_000,
  );
});

describe('a kill-all', () => {
  it('raises the epoch by exactly one, and is refused when it names another', async () => {
    const order = (epoch: bigint): Envelope =>
      instance.hub.command({
        case: 'killAll',
        value: { scope: KillScope.TENANT, scopeId: 'some-tenant', epoch, reason: '' },
      });
    const jump = order(7n);
    await instance.hub.send(jump, 'kill');
    expect((await instance.receipt(jump, 'refused')).receipt.result).toMatchObject({ value: { code: 'kill-epoch' } });
    const first = order(1n);
    await instance.hub.send(first, 'kill');
    const { receipt, killAll } = await instance.receipt(first, 'killed-all');
    expect(receipt.result).toMatchObject({ value: { epoch: 1n } });
    expect(killAll).toMatchObject({ scope: 'tenant', scopeId: 'some-tenant', epoch: 1n, agents: [] });
  });

  it(
    'is told to the orchestrator, also where nobody was registered: agents wait there, and work is pushed from there',
    proves('ORC-117', async () => {
      const before = instance.orchestrator.noticedKillAlls;
      const value = { scope: KillScope.TENANT, scopeId: 'quiet-tenant', epoch: 1n, reason: '' };
      const command = instance.hub.command({ case: 'killAll', value });
      await instance.hub.send(command, 'kill');
      await instance.receipt(command, 'killed-all');
      await until(() => instance.orchestrator.noticedKillAlls > before);
    }),
  );
});

describe('with Valkey and the orchestrator dead', () => {
  it(
    'a kill works, and its receipt is stored and acknowledged later',
    proves('FED-15', async () => {
      const agentId = `agent-${newId()}`;
      const { exited } = await registeredProcess(instance.dir, agentId);
      await instance.valkey.stop('SIGKILL');
      await instance.orchestrator[Symbol.asyncDispose]();
      instance.hub.acknowledges = false;
      const command = kill(agentId);
      const began = performance.now();
      const digest = await instance.hub.send(command, 'kill');
      const { observation } = await instance.receipt(command, 'killed');
      expect(performance.now() - began).toBeLessThan(4_000);
      await exited;
      expect(observation).toMatchObject({ outcome: 'killed' });
      expect(instance.hub.acknowledged).toContain(digest);
      await instance.valkey.start();
      // It is in the outbox now: another process of the spoke still has it to tell.
      await until(async () => (await instance.outboxSize()) > 0);
      const before = instance.hub.envelopesOf(command).length;
      await instance.spoke.stop('SIGKILL');
      instance.hub.acknowledges = true;
      await instance.spoke.start();
      expect(new Set(await answered(command, before + 1)).size).toBe(1);
      await until(async () => (await instance.outboxSize()) === 0);
    }),
    30_000,
  );
});

describe('with the reaper dead', () => {
  it('no death is claimed; it is pursued until it is confirmed', async () => {
    await instance.reaper.stop('SIGKILL');
    const command = kill();
    await instance.hub.send(command, 'kill');
    const first = await instance.receipt(command, 'killed');
    expect(first.receipt.result).toMatchObject({ value: { outcome: 4 } });
    expect(first.observation).toBeUndefined();
    const digest = toHex(envelopeDigest(command));
    expect(instance.hub.acknowledged).not.toContain(digest);
    // Told again meanwhile, it neither says more than it knows nor repeats itself.
    await instance.hub.send(command, 'kill');
    await instance.reaper.start();
    const isProven = (): boolean =>
      instance.hub.receiptsOf(command, instance.keys).some(({ observation }) => observation?.outcome === 'tombstoned');
    await until(isProven);
    expect(instance.hub.envelopesOf(command)).toHaveLength(2);
    await instance.hub.send(command, 'kill');
    await until(() => instance.hub.acknowledged.includes(digest));
  }, 40_000);

  it(
    'an order is not lost with the spoke either: it was never acknowledged, so the hub sends it again',
    proves('FED-08', async () => {
      await instance.reaper.stop('SIGKILL');
      const command = kill();
      const digest = await instance.hub.send(command, 'kill');
      await instance.receipt(command, 'killed');
      await instance.crashSpoke();
      expect(instance.hub.acknowledged).not.toContain(digest);
      await instance.reaper.start();
      await instance.hub.send(command, 'kill');
      await until(() => instance.hub.acknowledged.includes(digest));
      await until(() =>
        instance.hub.receiptsOf(command, instance.keys).some(({ observation }) => observation !== undefined),
      );
    }),
    40_000,
  );
});
