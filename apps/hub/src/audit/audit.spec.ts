import { createHash } from 'node:crypto';
import {
  chainHash,
  GENESIS,
  leafHash,
  MerkleTree,
  signTreeHead,
  verifyConsistency,
  verifyInclusion,
  verifyTreeHead,
} from '@capstan/evidence';
import { keyRecord, KeyRing, SigningKey } from '@capstan/identity';
import { decodeEnvelope, encodeEnvelope, fromBase64, fromHex, toHex } from '@capstan/protocol';
import type { Heartbeats } from '@capstan/link';
import { startTestPostgres } from '../../../../test/support/postgres.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { TestFederation } from '../../test/test-federation.js';
import { TestHub } from '../../test/test-hub.js';
import { TestSpoke } from '../../test/test-spoke.js';
import type { ConnectionView } from '../connections/connection.js';
import type { KeptHeadView } from './audit.controller.js';
import type { AuditEntryView, AuditHeadView } from './audit.service.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let mesh: TestFederation;
beforeAll(async () => {
  mesh = await TestFederation.start();
});
afterAll(() => mesh[Symbol.asyncDispose]());

const get = async <T>(path: string): Promise<T> => (await mesh.hub.get<T>(`/api/v1/audit${path}`)).body;
const hashes = async (path: string) => (await get<{ hashes: string[] }>(path)).hashes.map(fromHex);
const head = () => get<AuditHeadView>('/head');
const entries = async () => (await get<{ entries: AuditEntryView[] }>('?limit=1000')).entries;
const stateOf = ({ size, root }: AuditHeadView) => ({ size, root: fromHex(root) });
const hubKeys = async () => {
  const { body } = await mesh.hub.get<{ keys: { publicKey: string }[] }>('instance');
  return new KeyRing([keyRecord('hub', fromHex(body.keys[0]?.publicKey ?? ''), ['command'])]);
};
/** Something for the hub's record. */
const invite = () => mesh.hub.post('enrollments', {});

describe("the hub's record", () => {
  test('is read in pages, each entry chained to the one before it', async () => {
    await invite();
    let hash = GENESIS;
    const all = await entries();
    for (const [index, entry] of all.entries()) {
      hash = chainHash(hash, new TextEncoder().encode(entry.record));
      expect(entry).toMatchObject({ sequence: index + 1, hash: toHex(hash) });
    }
    const page = await get<{ entries: AuditEntryView[]; next: number }>('?after=1&limit=2');
    expect(page).toEqual({ entries: all.slice(1, 3), next: 3 });
    expect(await get(`?after=${String(all.length + 100)}`)).toEqual({ entries: [], next: all.length + 100 });
  });

  test(
    'has a head that the hub signs, in which each entry is proven, and which has only grown',
    proves('FED-18', async () => {
      const before = await head();
      await Promise.all(Array.from({ length: 5 }, invite));
      const after = await head();
      const envelope = decodeEnvelope(fromBase64(after.head));
      expect(verifyTreeHead(envelope, { keys: await hubKeys(), owner: 'hub' })).toMatchObject({
        logId: 'hub',
        ...stateOf(after),
      });
      expect(after.size).toBe(before.size + 5);
      const range = `from=${String(before.size)}&to=${String(after.size)}`;
      const grown = await hashes(`/proof/consistency?${range}`);
      expect(verifyConsistency(stateOf(before), stateOf(after), grown)).toBe(true);
      for (const { sequence, hash } of (await entries()).slice(0, after.size)) {
        const place = `sequence=${String(sequence)}&size=${String(after.size)}`;
        const path = await hashes(`/proof/inclusion?${place}`);
        expect(verifyInclusion(leafHash(fromHex(hash)), sequence - 1, stateOf(after), path)).toBe(true);
      }
    }),
  );

  test('proves nothing that it does not have', async () => {
    const { size } = await head();
    const beyond = String(size + 50);
    for (const path of [
      `inclusion?sequence=1&size=${beyond}`,
      `consistency?from=1&to=${beyond}`,
      `compact-range?size=${beyond}`,
    ]) {
      expect(await mesh.hub.get(`/api/v1/audit/proof/${path}`)).toMatchObject({ status: 404 });
    }
    for (const path of [
      'inclusion?sequence=0&size=1',
      'consistency?from=-1&to=1',
      'compact-range',
      'compact-range?size=1e99',
    ]) {
      expect(await mesh.hub.get(`/api/v1/audit/proof/${path}`)).toMatchObject({ status: 400 });
    }
  });

  test(
    'is told to each instance in heartbeats, with a proof from what the instance holds',
    proves('FED-18', async () => {
      const { spoke } = mesh;
      const keys = await hubKeys();
      const told = (isWanted: (heartbeat: Heartbeats) => boolean) =>
        until('a head of the hub', () => {
          const heartbeat = spoke.heard.find((each) => each.treeHead !== undefined && isWanted(each));
          if (heartbeat?.treeHead === undefined) return undefined;
          const envelope = decodeEnvelope(heartbeat.treeHead);
          return {
            head: verifyTreeHead(envelope, { keys, owner: 'hub', audience: 'harbor' }),
            proof: heartbeat.treeProof,
          };
        });
      const first = await told(() => true);
      spoke.ownLog = { ...spoke.ownLog, treeHeld: first.head.size };
      await invite();
      const second = await told(({ treeProof }) => treeProof !== undefined);
      expect(second.head.size).toBeGreaterThan(first.head.size);
      expect(second.proof?.from).toBe(first.head.size);
      expect(verifyConsistency(first.head, second.head, second.proof?.hashes ?? [])).toBe(true);
    }),
  );
});

/** An instance's log of so many entries, of which those from `forgedFrom` (an index) on are others. */
function logOf(size: number, forgedFrom = Infinity): MerkleTree {
  const hash = (text: string) => new Uint8Array(createHash('sha256').update(text).digest());
  const all = Array.from({ length: size }, (_, n) => hash(`${n < forgedFrom ? '' : 'forged '}${String(n)}`));
  const tree = new MerkleTree((start, end) => Promise.resolve(all.slice(start, end)));
  for (const each of all) tree.append(each);
  return tree;
}

/** Tells a head in the first heartbeat of a new link. */
async function tell(spoke: TestSpoke, tree: MerkleTree, from = 0, key: SigningKey = spoke.key): Promise<void> {
  const state = { size: tree.size, root: tree.root() };
  const base = { owner: 'instance', logId: spoke.instanceId, audience: 'hub', nowMs: Date.now() } as const;
  const treeHead = encodeEnvelope(signTreeHead({ key, ...base, ...state }));
  const proof = from > 0 ? { treeProof: { from, hashes: await tree.consistencyProof(from, tree.size) } } : {};
  spoke.ownLog = { treeHead, ...proof };
  await spoke.disconnect();
  await spoke.connect();
}

describe("an instance's log", () => {
  const kept = async () => (await get<{ heads: KeptHeadView[] }>('/heads/quay')).heads.map(({ size }) => size);
  const keeps = (size: number) =>
    until(`a head of ${String(size)}`, async () => (await kept()).at(-1) === size || undefined);
  const conflict = async () => {
    const { body } = await mesh.hub.get<ConnectionView[]>('connections');
    return body.find(({ instanceId }) => instanceId === 'quay')?.auditConflict;
  };
  const noted = async (kind: string) =>
    (await entries())
      .map(({ record }) => JSON.parse(record) as { kind: string; subject: string; detail: object })
      .filter((e) => e.kind === kind);

  test(
    'that contradicts what its instance has signed before is an alarm: shown, counted, in the record; kills go on',
    proves('FED-18', async () => {
      const spoke = mesh.other;
      await tell(spoke, logOf(5));
      await keeps(5);
      await tell(spoke, logOf(8), 5);
      await keeps(8);
      expect(await conflict()).toBeNull();
      const contradictions = [
        ['shrunk', logOf(6), 0],
        ['other-root', logOf(8, 2), 0],
        ['rewritten', logOf(20, 7), 8],
      ] as const;
      for (const [kind, tree, from] of contradictions) {
        await tell(spoke, tree, from);
        await until(`a conflict: ${kind}`, async () => (await conflict())?.conflict === kind || undefined);
        expect(await conflict()).toMatchObject({ heldSize: 8, size: tree.size });
      }
      expect(await kept()).toEqual([5, 8]);
      await until('three entries', async () => (await noted('audit.conflict')).length === 3 || undefined);
      expect((await noted('audit.conflict'))[0]).toMatchObject({
        subject: 'quay',
        detail: { code: 'tree-head', conflict: 'shrunk' },
      });
      const figures = await mesh.hub.get<{ text: string }>('/metrics');
      expect(figures.body.text).toMatch(/capstan_refusals_total\{code="tree-head"\} [3-9]/);
      const killed = mesh.hub.post('agents/some-agent/kill', { instance: 'quay', waitMs: 0 });
      await until('the kill', () => spoke.ordered.find(({ lane }) => lane === 'kill'));
      expect((await killed).status).toBe(202);
      // Until an admin knows why, and takes the log as it is.
      expect((await mesh.hub.request('DELETE', '/api/v1/audit/heads/quay')).status).toBe(204);
      expect(await conflict()).toBeNull();
      await tell(spoke, logOf(6));
      await keeps(6);
      expect(await noted('audit.log-accepted')).toMatchObject([{ subject: 'quay', detail: { by: 'admin', size: 8 } }]);
    }),
  );

  test('whose head another key has signed is not taken', async () => {
    await tell(mesh.other, logOf(30), 6, SigningKey.generate());
    await until('the refusal', async () => (await noted('audit.head-refused')).length === 1 || undefined);
    expect(await noted('audit.head-refused')).toMatchObject([{ subject: 'quay', detail: { code: 'key-unknown' } }]);
    expect(await kept()).toEqual([6]);
    expect(await conflict()).toBeNull();
  });

  test('of an instance that nobody knows is not accepted', async () => {
    const answer = await mesh.hub.request('DELETE', '/api/v1/audit/heads/nobody');
    expect(answer).toMatchObject({ status: 404, body: { code: 'instance-unknown' } });
  });
});

test('a hub that was started again remembers what an instance has signed before', async () => {
  const postgres = await startTestPostgres();
  const first = await TestHub.start(await postgres.freshDatabase());
  try {
    const spoke = await TestSpoke.connected(first, 'quay');
    await tell(spoke, logOf(10));
    await until('the head', async () => {
      const { body } = await first.get<{ heads: KeptHeadView[] }>('/api/v1/audit/heads/quay');
      return body.heads.length === 1;
    });
    await spoke.disconnect();
    await first.stop();
    await using again = await first.successor();
    Object.assign(spoke, { hub: again });
    await tell(spoke, logOf(7));
    const seen = await until('the conflict', async () => {
      const { body } = await again.get<ConnectionView[]>('connections');
      return body[0]?.auditConflict ?? undefined;
    });
    expect(seen).toMatchObject({ conflict: 'shrunk', heldSize: 10 });
    await spoke.disconnect();
  } finally {
    await postgres.stop();
  }
});
