import { writeFile } from 'node:fs/promises';
import { envelopeDigest, keyRecord, KeyRing, makeAdmission, saveTrust, SigningKey } from '@capstan/identity';
import { decodeEnvelope, Direction, encodeEnvelope, newId, toBase64 } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { TestApi } from '../../test/test-api.js';
import { HUB } from '../../test/test-instance.js';

type AdmissionChange = Partial<Parameters<typeof makeAdmission>[0]>;
const alice = SigningKey.generate();
const quay = SigningKey.generate();
const ALICE = keyRecord('op-alice', alice.publicKey, ['command', 'grant']);
const QUAY = keyRecord('quay', quay.publicKey, ['command', 'receipt']);
const PEERS = [{ instance: 'quay', verbs: ['spawn'] }];

let api: TestApi;
beforeAll(async () => {
  api = await TestApi.start();
  const { paths, hubKey } = api.instance;
  await saveTrust(paths.trust, new KeyRing([keyRecord(HUB, hubKey.publicKey, ['command', 'admit'])]));
  await saveTrust(paths.operators, new KeyRing([ALICE]));
  await policy({ peers: PEERS });
});
afterAll(() => api[Symbol.asyncDispose]());

async function policy(further: object): Promise<void> {
  const spawn = {
    runtimes: ['claude'],
    repositories: ['/srv/*'],
    tenants: ['default'],
    concurrency: 4,
    budgetMicroUsd: 1_000_000,
    timeoutMs: 3_600_000,
    sandboxes: ['bubblewrap'],
  };
  await writeFile(api.instance.paths.policy, JSON.stringify({ version: 1, spawn, ...further }));
}

function byAlice(): Uint8Array {
  const header = { issuer: 'op-alice', direction: Direction.OPERATOR_TO_SPOKE, tenant: 'default', hopLimit: 1 };
  return api.instance.signedSpawn({}, header, alice);
}

function byQuay(): Uint8Array {
  const header = { issuer: 'quay', direction: Direction.SPOKE_TO_SPOKE, tenant: 'default', hopLimit: 1 };
  return api.instance.signedSpawn({}, header, quay);
}

function admitted(bytes: Uint8Array, change: AdmissionChange = {}): Uint8Array {
  const digest = envelopeDigest(decodeEnvelope(bytes));
  const hub = { hubId: HUB, key: api.instance.hubKey, audience: 'harbor' };
  return encodeEnvelope(makeAdmission({ ...hub, digest, originKey: ALICE, tenant: 'default', hopLimit: 0, ...change }));
}

async function take(bytes: Uint8Array, admission?: Uint8Array): Promise<string> {
  const body = { envelope: toBase64(bytes), ...(admission === undefined ? {} : { admission: toBase64(admission) }) };
  const answer = await api.call<{ code?: string; state?: string }>('POST', '/commands', body);
  return answer.body.code ?? answer.body.state ?? '';
}

describe('the orchestrator verifies a routed spawn again', () => {
  it(
    'and takes an operator’s, and another instance’s, with the hub’s admission',
    proves(['FED-09', 'FED-13'], async () => {
      const mine = byAlice();
      expect(await take(mine, admitted(mine))).toBe('queued');
      const theirs = byQuay();
      expect(await take(theirs, admitted(theirs, { originKey: QUAY }))).toBe('queued');
    }),
  );

  it(
    'and takes nothing but an operator’s where the owner demands it, whatever the spoke hands over',
    proves('FED-13', async () => {
      await policy({ peers: PEERS, demandOperatorSignature: ['spawn'] });
      expect(await take(api.instance.signedSpawn({}, { tenant: 'default' }))).toBe('policy-operator');
      const theirs = byQuay();
      expect(await take(theirs, admitted(theirs, { originKey: QUAY }))).toBe('policy-operator');
      const mine = byAlice();
      expect(await take(mine, admitted(mine))).toBe('queued');
      await policy({ peers: PEERS });
    }),
  );

  it('and refuses what a broken-into spoke would make up', async () => {
    const mine = byAlice();
    // Without the hub; with a key of the spoke's own; for another command; of a peer whom the owner does not name.
    expect(await take(mine)).toBe('key-unknown');
    expect(await take(mine, admitted(mine, { key: quay }))).toBe('admission-invalid');
    expect(await take(mine, admitted(byAlice()))).toBe('admission-invalid');
    await policy({});
    const theirs = byQuay();
    expect(await take(theirs, admitted(theirs, { originKey: QUAY }))).toBe('policy-peer');
    await policy({ peers: PEERS });
    const pinned = keyRecord('quay', SigningKey.generate().publicKey, ['command', 'receipt']);
    await saveTrust(api.instance.paths.peers, new KeyRing([pinned]));
    expect(await take(theirs, admitted(theirs, { originKey: QUAY }))).toBe('key-unknown');
  });

  it('and refuses one that was admitted before a kill-all, also when the scope is armed again', async () => {
    const mine = byAlice();
    const before = admitted(mine);
    const command = { issuer: HUB, id: newId(), digest: new Uint8Array(32) };
    await api.reaper.killAll({ scope: 'tenant', scopeId: 'default', epoch: 1n, command, timeoutMs: 1_000 });
    expect(await take(mine, before)).toBe('disarmed');
    await api.reaper.rearm({ scope: 'tenant', scopeId: 'default', epoch: 1n });
    expect(await take(mine, before)).toBe('kill-epoch');
    const killEpochs = [{ $typeName: 'capstan.v1.KillEpoch' as const, scope: 'tenant', scopeId: 'default', epoch: 1n }];
    expect(await take(mine, admitted(mine, { killEpochs }))).toBe('queued');
  });

  it(
    'and starts nothing new with a key of the hub whose time is over, but answers for what it took before as it did',
    proves('FED-11', async () => {
      const { hubKey, paths } = api.instance;
      const record = keyRecord(HUB, hubKey.publicKey, ['command', 'admit']);
      const issued = { tenant: 'default', nowMs: Date.now() - 60_000 };
      const taken = api.instance.signedSpawn({}, issued);
      const mine = byAlice();
      const admission = admitted(mine, { nowMs: Date.now() - 60_000 });
      expect(await take(taken)).toBe('queued');
      await saveTrust(paths.trust, new KeyRing([{ ...record, validUntil: Date.now() - 1_000 }]));
      expect(await take(api.instance.signedSpawn({}, issued))).toBe('key-revoked');
      expect(await take(mine, admission)).toBe('admission-invalid');
      expect(await take(taken)).not.toBe('key-revoked');
      await saveTrust(paths.trust, new KeyRing([record]));
    }),
  );

  it('and refuses a header of another key epoch', async () => {
    expect(await take(api.instance.signedSpawn({}, { tenant: 'default', keyEpoch: 2 }))).toBe('key-revoked');
  });
});
