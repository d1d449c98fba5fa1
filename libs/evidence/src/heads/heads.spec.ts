import { createHash } from 'node:crypto';
import { keyRecord, KeyRing, signPayload, SigningKey } from '@capstan/identity';
import {
  create,
  decodeEnvelope,
  encodeEnvelope,
  fromBinary,
  LocalFault,
  toBinary,
  TreeHeadSchema,
} from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { MerkleTree } from '../merkle/merkle-tree.js';
import { headLine, parseHeads } from './head-file.js';
import { HeadOffer } from './head-offer.js';
import { PeerLog } from './peer-log.js';
import { signTreeHead, verifyTreeHead } from './tree-head.js';

const hashOf = (text: string) => new Uint8Array(createHash('sha256').update(text).digest());

/** A log of so many entries, of which those from `forgedFrom` (an index) on are others. */
function treeOf(size: number, forgedFrom = Infinity): MerkleTree {
  const entries = Array.from({ length: size }, (_, n) => hashOf(`${n < forgedFrom ? '' : 'forged '}${String(n)}`));
  const tree = new MerkleTree((start, end) => Promise.resolve(entries.slice(start, end)));
  for (const entry of entries) tree.append(entry);
  return tree;
}

const stateOf = (tree: MerkleTree) => ({ size: tree.size, root: tree.root() });
const proofFrom = async (tree: MerkleTree, from: number) => ({
  from,
  hashes: await tree.consistencyProof(from, tree.size),
});

describe('what one side knows of the other’s log', () => {
  const held = stateOf(treeOf(10));

  it(
    'goes on where a longer log is proven to begin with the one that is held',
    proves('FED-18', async () => {
      const log = new PeerLog(held);
      const longer = treeOf(25);
      expect(log.judge(stateOf(longer), await proofFrom(longer, 10), 0)).toEqual({ is: 'newer' });
      log.hold(stateOf(longer));
      expect(log.judge(stateOf(longer), undefined, 0)).toEqual({ is: 'known' });
      expect(log.conflict).toBeUndefined();
    }),
  );

  it(
    'alarms where the log has shrunk, has another root, or was written anew and grown',
    proves('FED-18', async () => {
      const rewritten = treeOf(25, 9);
      const cases = [
        ['shrunk', stateOf(treeOf(9)), undefined],
        ['other-root', stateOf(treeOf(10, 3)), undefined],
        ['rewritten', stateOf(rewritten), await proofFrom(rewritten, 10)],
        ['rewritten', stateOf(treeOf(25)), { from: 10, hashes: [] }],
      ] as const;
      for (const [kind, head, proof] of cases) {
        const log = new PeerLog(held);
        expect(log.judge(head, proof, 7)).toMatchObject({
          is: 'conflict',
          isNews: true,
          conflict: { kind, size: head.size, heldSize: 10, atMs: 7 },
        });
        expect(log.judge(head, proof, 8)).toMatchObject({ is: 'conflict', isNews: false });
        expect(log.held).toEqual(held);
      }
    }),
  );

  it('alarms where a longer log is not proven for a minute, and not before', async () => {
    const longer = treeOf(25);
    const log = new PeerLog(held);
    expect(log.judge(stateOf(longer), undefined, 0)).toEqual({ is: 'waiting' });
    expect(log.judge(stateOf(longer), await proofFrom(longer, 4), 59_999)).toEqual({ is: 'waiting' });
    expect(log.judge(stateOf(longer), undefined, 60_000)).toMatchObject({ conflict: { kind: 'unproven' } });
  });

  it('still shows a contradiction after the log has been proven again', async () => {
    const log = new PeerLog(held);
    log.judge(stateOf(treeOf(3)), undefined, 0);
    const longer = treeOf(25);
    expect(log.judge(stateOf(longer), await proofFrom(longer, 10), 1)).toEqual({ is: 'newer' });
    expect(log.conflict).toMatchObject({ kind: 'shrunk' });
  });
});

describe('a tree head', () => {
  const key = SigningKey.generate();
  const head = { key, logId: 'hub', audience: 'quay', ...stateOf(treeOf(5)), nowMs: 1_000 };
  const ring = (...purposes: ('command' | 'receipt')[]) => new KeyRing([keyRecord('hub', key.publicKey, purposes)]);

  it('is signed with the key of orders by a hub, and with the key of answers by an instance', () => {
    const ofHub = signTreeHead({ ...head, owner: 'hub' });
    const want = { audience: 'quay' };
    expect(verifyTreeHead(ofHub, { ...want, owner: 'hub', keys: ring('command') })).toMatchObject({
      logId: 'hub',
      size: 5,
    });
    expect(() => verifyTreeHead(ofHub, { ...want, owner: 'hub', keys: ring('receipt') })).toThrow('key-purpose');
    expect(() => verifyTreeHead(ofHub, { ...want, owner: 'instance', keys: ring('receipt') })).toThrow(
      'wrong-direction',
    );
  });

  it('is for one receiver, and of its signer’s own log', () => {
    const keys = ring('command');
    const ofHub = signTreeHead({ ...head, owner: 'hub' });
    expect(() => verifyTreeHead(ofHub, { keys, owner: 'hub', audience: 'harbor' })).toThrow('wrong-audience');
    const another = signTreeHead({ ...head, owner: 'hub', logId: 'other-hub' });
    expect(() => verifyTreeHead(another, { keys, owner: 'hub', audience: 'quay' })).toThrow('wrong-issuer');
    const { header, ...content } = fromBinary(TreeHeadSchema, ofHub.payload);
    if (header === undefined) throw new Error('no header');
    const inAnothersName = create(TreeHeadSchema, { ...content, header, logId: 'other-hub' });
    const forged = signPayload(key, 'tree-head', toBinary(TreeHeadSchema, inAnothersName));
    expect(() => verifyTreeHead(forged, { keys, owner: 'hub', audience: 'quay' })).toThrow('wrong-issuer');
    const short = signTreeHead({ ...head, owner: 'hub', root: new Uint8Array(31) });
    expect(() => verifyTreeHead(short, { keys, owner: 'hub' })).toThrow('payload-malformed');
  });

  it('is kept as a line, and read again', () => {
    const envelope = signTreeHead({ ...head, owner: 'hub' });
    const text = headLine(envelope, 1_767_323_045_678).repeat(2);
    expect(parseHeads(text)).toEqual([1, 2].map(() => ({ envelope, receivedAtMs: 1_767_323_045_678 })));
    for (const bad of [
      'x',
      '{}',
      'null',
      '{"version":1,"kind":"capstan.tree-head","head":"AAAA","receivedAt":"now"}',
    ]) {
      expect(() => parseHeads(bad)).toThrow(LocalFault);
    }
  });
});

describe('heads for a peer', () => {
  it('go out first of all, then when the log has grown, with a proof from what the peer holds, and not too often', async () => {
    let nowMs = 0;
    const tree = treeOf(4);
    const key = SigningKey.generate();
    const keys = new KeyRing([keyRecord('quay', key.publicKey, ['receipt'])]);
    const log = { tree, refresh: () => Promise.resolve() };
    const offer = new HeadOffer(
      log,
      (state) => signTreeHead({ key, owner: 'instance', logId: 'quay', audience: 'hub', nowMs: 1, ...state }),
      () => nowMs,
    );
    const hear = async (held: number) => {
      nowMs += 5_000;
      await offer.heard(held);
      return offer.take();
    };
    const peer = new PeerLog();
    const deliver = (offered: Awaited<ReturnType<typeof hear>>) => {
      if (offered === undefined) return 'nothing';
      const head = verifyTreeHead(decodeEnvelope(offered.treeHead), { keys, owner: 'instance' });
      const { is } = peer.judge(head, offered.treeProof, nowMs);
      if (is === 'newer') peer.hold(head);
      return is;
    };
    expect(deliver(await hear(0))).toBe('newer');
    expect(deliver(await hear(4))).toBe('nothing');
    tree.append(hashOf('4'));
    tree.append(hashOf('5'));
    await offer.heard(4);
    expect(offer.take()).toBeUndefined();
    expect(deliver(await hear(4))).toBe('newer');
    expect(peer.held?.size).toBe(6);
    expect(deliver(await hear(6))).toBe('nothing');
    expect(encodeEnvelope(decodeEnvelope((await hear(9))?.treeHead ?? new Uint8Array())).length).toBeGreaterThan(0);
  });
});
