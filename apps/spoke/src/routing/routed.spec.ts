import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { envelopeDigest, keyRecord, KeyRing, saveTrust, SigningKey } from '@capstan/identity';
import { type Envelope, KillScope, type LaneName, newId, toHex } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { allowedSpawn, Foreigner, type ForeignBody } from '../../test/foreign.js';
import { until } from '../../test/processes.js';
import { POLICY, TestInstance } from '../../test/test-instance.js';

const alice = new Foreigner('op-alice');
const quay = new Foreigner('quay');
const PEERS = 'peers:\n  - { instance: quay, verbs: [spawn, status, kill] }\n';
const DEMAND = 'demandOperatorSignature: [spawn, status, rearm]\n';

let instance: TestInstance;
beforeAll(async () => {
  instance = await TestInstance.start();
}, 30_000);
beforeEach(async () => {
  await rm(join(instance.dir, 'peers.json'), { force: true });
  await saveTrust(join(instance.dir, 'operators.json'), new KeyRing([alice.record]));
  await policy(PEERS);
});
afterAll(async () => {
  await instance?.[Symbol.asyncDispose]();
});

async function policy(further: string): Promise<void> {
  await writeFile(join(instance.dir, 'policy.yaml'), POLICY + further);
}

async function rejection(envelope: Envelope, admission: Envelope | undefined, lane?: LaneName): Promise<string> {
  const count = instance.hub.rejected.length;
  const digest = await instance.hub.sendRouted(envelope, admission, lane);
  const isIt = (each: { digest: string }): boolean => each.digest === digest;
  return (await until(() => instance.hub.rejected.slice(count).find(isIt), 'a rejection')).code;
}

/** Sends a command with the admission that it should have, and waits for a receipt. */
async function routed(from: Foreigner, command: Envelope, kind: string, lane?: LaneName) {
  await instance.hub.sendRouted(command, instance.hub.admit(command, from.record), lane);
  return instance.receipt(command, kind);
}

function status(agentId = `agent-${newId()}`): ForeignBody {
  return { case: 'status', value: { agentId } };
}

async function peers(): Promise<{ owner: string; keyId: string; purposes: string[] }[]> {
  const { keys } = JSON.parse(await readFile(join(instance.dir, 'peers.json'), 'utf8')) as { keys: never[] };
  return keys;
}

describe('a command of an operator', () => {
  it(
    'is taken, offered with the hub’s admission, and answered like the hub’s own',
    proves('FED-13', async () => {
      const spawn = alice.command(allowedSpawn());
      const { receipt } = await routed(alice, spawn, 'spawned');
      expect(receipt).toMatchObject({ commandIssuer: 'op-alice', header: { audience: 'hub' } });
      expect(instance.orchestrator.admissions.get(receipt.agentId)).toBeDefined();
    }),
  );

  it(
    'is the only one that is taken where the owner demands it; kills are taken from the hub all the same',
    proves('FED-13', async () => {
      await policy(PEERS + DEMAND);
      for (const spawn of [instance.spawn(), instance.hub.command(status())]) {
        await instance.hub.send(spawn);
        const { receipt } = await instance.receipt(spawn, 'refused');
        expect(receipt.result).toMatchObject({ value: { code: 'policy-operator' } });
      }
      const rearm = instance.hub.command({ case: 'rearm', value: { scope: KillScope.MESH, epoch: 1n } });
      await instance.hub.send(rearm);
      expect((await instance.receipt(rearm, 'refused')).receipt.result).toMatchObject({
        value: { code: 'policy-operator' },
      });
      const byPeer = await routed(quay, quay.command(allowedSpawn()), 'refused');
      expect(byPeer.receipt.result).toMatchObject({ value: { code: 'policy-operator' } });
      await routed(alice, alice.command(allowedSpawn()), 'spawned');
      const kill = instance.hub.command({ case: 'kill', value: { agentId: `agent-${newId()}` } });
      await instance.hub.send(kill, 'kill');
      await instance.receipt(kill, 'killed');
    }),
  );

  it(
    'cannot be made by a hub that was broken into: not with its own key, not under the operator’s name',
    proves('FED-13', async () => {
      await policy(DEMAND);
      const { hub } = instance;
      const forged = new Foreigner('op-alice');
      const byHub = forged.command(allowedSpawn(), {}, hub.key);
      // With the hub's key, as an operator whose key the hub vouches for.
      const hubAsAlice = keyRecord('op-alice', hub.key.publicKey, ['command']);
      expect(await rejection(byHub, hub.admit(byHub, hubAsAlice))).toBe('key-unknown');
      // With a key of its making.
      const fresh = forged.command(allowedSpawn());
      expect(await rejection(fresh, hub.admit(fresh, forged.record))).toBe('key-unknown');
      // As the hub's own, with the operator for whom it acts.
      const own = instance.spawn({}, { onBehalfOf: 'op-alice' });
      await hub.send(own);
      expect((await instance.receipt(own, 'refused')).receipt.result).toMatchObject({
        value: { code: 'policy-operator' },
      });
    }),
  );

  it('to kill is taken with a wrong clock, and while the policy cannot be read', async () => {
    await writeFile(join(instance.dir, 'policy.yaml'), 'version: 2\n');
    const body = { case: 'kill', value: { agentId: `agent-${newId()}` } } as const;
    await routed(alice, alice.command(body, { nowMs: 1_000, lifetimeMs: 1 }), 'killed', 'kill');
    expect(instance.hub.receipts.at(-1)?.lane).toBe('kill');
  });

  it('of one whom the owner has not pinned, or no longer, is refused', async () => {
    await rm(join(instance.dir, 'operators.json'));
    const command = alice.command(status());
    expect(await rejection(command, instance.hub.admit(command, alice.record))).toBe('key-unknown');
    await saveTrust(join(instance.dir, 'operators.json'), new KeyRing([{ ...alice.record, revokedAt: 1 }]));
    expect(await rejection(command, instance.hub.admit(command, alice.record))).toBe('key-revoked');
  });
});

describe('a command of another instance', () => {
  it(
    'is taken where the owner allows it; its key is pinned then, and another is refused',
    proves('FED-09', async () => {
      await routed(quay, quay.command(allowedSpawn()), 'spawned');
      expect(await peers()).toMatchObject([{ owner: 'quay', keyId: quay.key.keyId, purposes: ['command', 'receipt'] }]);
      const other = new Foreigner('quay');
      const command = other.command(status());
      expect(await rejection(command, instance.hub.admit(command, other.record))).toBe('key-unknown');
      const claimed = quay.command(status());
      expect(await rejection(claimed, instance.hub.admit(claimed, other.record))).toBe('admission-invalid');
    }),
  );

  it('is refused by default, and its key not kept', async () => {
    await policy('');
    const { receipt } = await routed(quay, quay.command(status()), 'refused');
    expect(receipt.result).toMatchObject({ value: { code: 'policy-peer' } });
    const kill = quay.command({ case: 'kill', value: { agentId: `agent-${newId()}` } });
    expect(await rejection(kill, instance.hub.admit(kill, quay.record), 'kill')).toBe('policy-peer');
    await expect(peers()).rejects.toThrow('ENOENT');
  });

  it('to kill is taken where the owner allows it', async () => {
    const kill = quay.command({ case: 'kill', value: { agentId: `agent-${newId()}` } });
    expect((await routed(quay, kill, 'killed', 'kill')).observation).toMatchObject({ outcome: 'tombstoned' });
  });

  it(
    'that comes again, with whatever admission, has one effect and the same answer',
    proves(['FED-07', 'FED-09'], async () => {
      const spawn = quay.command(allowedSpawn());
      const first = await routed(quay, spawn, 'spawned');
      const count = instance.hub.receipts.length;
      await instance.hub.sendRouted(spawn, instance.hub.admit(spawn, quay.record, { lifetimeMs: 1_000 }));
      await until(() => instance.hub.receipts.length > count, 'the answer again');
      expect(instance.hub.envelopesOf(spawn).map((it) => toHex(envelopeDigest(it)))).toContain(toHex(first.digest));
      expect(instance.orchestrator.offered.filter((id) => id === first.receipt.agentId)).toHaveLength(1);
      // The same command as if the hub had sent it: whichever way it comes, only the signature's owner counts.
      const digest = await instance.hub.send(spawn);
      const told = await until(() => instance.hub.rejected.find((it) => it.digest === digest), 'a rejection');
      expect(told.code).toBe('key-unknown');
    }),
  );

  it('never meets the hub’s in the ledger: the same id of another issuer is another command', async () => {
    const id = newId();
    await routed(quay, quay.command(allowedSpawn(), { id }), 'spawned');
    const own = instance.spawn({}, { id });
    await instance.hub.send(own);
    await instance.receipt(own, 'spawned');
    const twice = quay.command(status(), { id });
    expect(await rejection(twice, instance.hub.admit(twice, quay.record))).toBe('replayed');
  });

  const hub = () => instance.hub;
  it.each<[string, () => [Envelope, Envelope | undefined], string]>([
    ['without an admission', () => [quay.command(status()), undefined], 'admission-missing'],
    [
      'with that of another command',
      () => [quay.command(status()), hub().admit(quay.command(status()), quay.record)],
      'admission-invalid',
    ],
    ['that nobody but its issuer has admitted', () => selfAdmitted(), 'admission-invalid'],
    ['whose admission is for another', () => admitted({ audience: 'quay' }), 'admission-invalid'],
    ['whose admission has run out', () => admitted({ nowMs: Date.now() - 120_000 }), 'admission-invalid'],
    ['of another tenant than admitted', () => admitted({ tenant: 'other' }), 'wrong-tenant'],
    ['that the hub lets pass further than its issuer', () => admitted({ hopLimit: 3 }), 'hop-limit'],
    ['that may pass no hub', () => sent({ hopLimit: 0 }), 'hop-limit'],
    ['for another', () => sent({ audience: 'wharf' }), 'wrong-audience'],
    ['in another’s name', () => sent({ issuer: 'wharf' }), 'wrong-issuer'],
    ['that has expired', () => sent({ nowMs: Date.now() - 120_000 }), 'expired'],
    ['from a clock that is ahead', () => sent({ nowMs: Date.now() + 120_000 }), 'clock-skew'],
    ['of this instance itself, sent back', () => reflected(), 'route-cycle'],
    [
      'that only a hub orders',
      () => ofBody({ case: 'rearm', value: { scope: KillScope.MESH, epoch: 1n } }),
      'wrong-direction',
    ],
  ])('%s is refused', (_, make, code) =>
    proves('FED-09', async () => {
      const offered = instance.orchestrator.offered.length;
      expect(await rejection(...make())).toBe(code);
      expect(instance.orchestrator.offered).toHaveLength(offered);
      await expect(peers()).rejects.toThrow('ENOENT');
    })(),
  );

  type Sent = [Envelope, Envelope];
  function ofBody(body: ForeignBody, over: Parameters<Foreigner['command']>[1] = {}): Sent {
    const command = quay.command(body, over);
    return [command, hub().admit(command, quay.record)];
  }
  function sent(over: Parameters<Foreigner['command']>[1]): Sent {
    return ofBody(allowedSpawn(), over);
  }
  function admitted(change: Parameters<TestInstance['hub']['admit']>[2]): Sent {
    const command = quay.command(allowedSpawn());
    return [command, hub().admit(command, quay.record, change)];
  }
  function selfAdmitted(): Sent {
    return admitted({ hubId: 'quay', key: quay.key });
  }
  function reflected(): Sent {
    const own = new Foreigner('harbor');
    const command = own.command(allowedSpawn(), { audience: 'harbor' });
    return [command, hub().admit(command, own.record)];
  }
});

test('a command of a hub whose key was not made to admit is not routed', async () => {
  const command = quay.command(status());
  const stranger = SigningKey.generate();
  expect(await rejection(command, instance.hub.admit(command, quay.record, { key: stranger }))).toBe(
    'admission-invalid',
  );
});

test(
  'a command that was admitted before a revocation is not taken after it; a kill is',
  proves(['FED-09', 'FED-12'], async () => {
    instance.hub.revocationEpoch = 1n;
    // The hub's next Welcome tells it.
    await instance.crashSpoke();
    const command = quay.command(status());
    const before = instance.hub.admit(command, quay.record, { revocationEpoch: 0n });
    expect(await rejection(command, before)).toBe('admission-older');
    const kill = alice.command({ case: 'kill', value: { agentId: `agent-${newId()}` } });
    await instance.hub.sendRouted(kill, instance.hub.admit(kill, alice.record, { revocationEpoch: 0n }), 'kill');
    await instance.receipt(kill, 'killed');
  }),
  20_000,
);
