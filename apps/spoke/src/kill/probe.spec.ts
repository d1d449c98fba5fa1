import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Heartbeats } from '@capstan/link';
import { type Envelope, KillScope } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../test/processes.js';
import { registeredProcess } from '../../test/registered-process.js';
import type { HeaderChange } from '../../test/stand-in-hub.js';
import { POLICY, TestInstance } from '../../test/test-instance.js';

let instance: TestInstance;
beforeAll(async () => {
  instance = await TestInstance.start();
}, 30_000);
afterAll(async () => {
  await instance?.[Symbol.asyncDispose]();
});

function probe(nonce: Uint8Array = randomBytes(32), header: HeaderChange = {}): Envelope {
  return instance.hub.command({ case: 'probe', value: { nonce } }, header);
}

const scope = { scope: KillScope.TENANT, scopeId: 'probed' };
const killAll = (epoch: bigint): Envelope =>
  instance.hub.command({ case: 'killAll', value: { ...scope, epoch, reason: '' } });
const rearm = (epoch: bigint): Envelope =>
  instance.hub.command({ case: 'rearm', value: { ...scope, epoch, reason: '' } });

async function refusal(command: Envelope): Promise<string | undefined> {
  const { result } = (await instance.receipt(command, 'refused')).receipt;
  return result.case === 'refused' ? result.value.code : undefined;
}

describe('a probe', () => {
  it(
    'goes the way of a kill and comes back with the reaper’s own signature, killing nobody',
    proves('FED-22', async () => {
      const { exited } = await registeredProcess(instance.dir, 'agent-probed');
      const nonce = new Uint8Array(randomBytes(32));
      const command = probe(nonce);
      await instance.hub.send(command, 'kill');
      const verified = await instance.receipt(command, 'probed');
      expect(verified.probe).toMatchObject({ nonce, livingAgents: 1 });
      expect(instance.hub.receipts.at(-1)?.lane).toBe('kill');
      const kill = instance.hub.command({ case: 'kill', value: { agentId: 'agent-probed', reason: '' } });
      await instance.hub.send(kill, 'kill');
      // It lived until it was killed.
      expect((await instance.receipt(kill, 'killed')).observation).toMatchObject({ outcome: 'killed' });
      await exited;
    }),
    20_000,
  );

  it('is, like a kill, exempt from the clock and from nothing else', async () => {
    const late = probe(undefined, { nowMs: Date.now() - 3_600_000 });
    await instance.hub.send(late, 'kill');
    await instance.receipt(late, 'probed');
    const digest = await instance.hub.send(probe(undefined, { audience: 'quay' }), 'kill');
    const rejected = await until(() => instance.hub.rejected.find((each) => each.digest === digest));
    expect(rejected).toMatchObject({ code: 'wrong-audience' });
    const short = await instance.hub.send(probe(new Uint8Array(31)), 'kill');
    expect(await until(() => instance.hub.rejected.find((each) => each.digest === short))).toMatchObject({
      code: 'payload-malformed',
    });
  });

  it(
    'is demanded before a spawn where the owner says so',
    proves('FED-22', async () => {
      await instance.crashSpoke();
      await writeFile(join(instance.dir, 'policy.yaml'), `${POLICY}requireProbeWithinMs: 60000\n`);
      const early = instance.spawn();
      await instance.hub.send(early);
      expect(await refusal(early)).toBe('policy-probe');
      const command = probe();
      await instance.hub.send(command, 'kill');
      await instance.receipt(command, 'probed');
      const proven = instance.spawn();
      await instance.hub.send(proven);
      await instance.receipt(proven, 'spawned');
      await writeFile(join(instance.dir, 'policy.yaml'), POLICY);
    }),
    30_000,
  );

  it('says that it did not come through where the reaper is dead', async () => {
    await instance.reaper.stop('SIGKILL');
    const command = probe();
    await instance.hub.send(command, 'kill');
    expect(await refusal(command)).toBe('internal');
    await instance.reaper.start();
  }, 30_000);
});

describe('a re-arming', () => {
  it(
    'holds for the present epoch only, and has one answer',
    proves('FED-10', async () => {
      const stop = killAll(1n);
      await instance.hub.send(stop, 'kill');
      await instance.receipt(stop, 'killed-all');
      const older = rearm(2n);
      await instance.hub.send(older);
      expect(await refusal(older)).toBe('kill-epoch');
      const order = rearm(1n);
      await instance.hub.send(order);
      expect((await instance.receipt(order, 'rearmed')).receipt.result).toMatchObject({ value: { epoch: 1n } });
      const again = killAll(2n);
      await instance.hub.send(again, 'kill');
      await instance.receipt(again, 'killed-all');
      const had = instance.hub.envelopesOf(order).length;
      await instance.hub.send(order);
      // The stored answer: the scope stays as the later kill-all has left it.
      await until(() => instance.hub.envelopesOf(order).length > had);
      const stale = rearm(1n);
      await instance.hub.send(stale);
      expect(await refusal(stale)).toBe('kill-epoch');
    }),
    20_000,
  );

  it('is followed by heartbeats that tell the reaper’s epochs', async () => {
    const link = await instance.hub.link();
    const heard: Heartbeats[] = [];
    link.onHeartbeat = (heartbeat) => heard.push(heartbeat);
    const told = await until(() => heard.find(({ killEpochs }) => killEpochs.some((it) => it.scopeId === 'probed')));
    expect(told.killEpochs).toMatchObject([{ scope: 'tenant', scopeId: 'probed', epoch: 2n }]);
  }, 20_000);
});
