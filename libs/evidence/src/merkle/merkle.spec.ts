import fc from 'fast-check';
import { fromHex, toHex } from '@capstan/protocol';
import { createHash } from 'node:crypto';
import { proves } from '../../../../test/support/proves.js';
import { CompactRange } from './compact-range.js';
import { MerkleTree } from './merkle-tree.js';
import { EMPTY_ROOT, leafHash, nodeHash } from './tree-hash.js';
import { verifyConsistency, verifyInclusion } from './verify-proof.js';

/** The vectors of Certificate Transparency's reference implementation: leaves, roots, paths. */
const VECTOR_LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map(fromHex);
const VECTOR_ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
].map(fromHex);
const sha256 = (...parts: Uint8Array[]) => new Uint8Array(createHash('sha256').update(Buffer.concat(parts)).digest());
/** RFC 6962's leaf hash of any bytes; our own leaves are always chain hashes. */
const anyLeaf = (bytes: Uint8Array) => sha256(Uint8Array.of(0), bytes);
const vector = (size: number) => ({ size, root: VECTOR_ROOTS[size] ?? EMPTY_ROOT });
const hex = (...nodes: string[]) => nodes.map(fromHex);

const N01 = '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e';
const N1 = '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7';
const N47 = '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4';
const N4 = 'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b';
const N67 = 'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0';
const N45 = '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a';
const N03 = 'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7';
const N0 = '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d';
const N001 = 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125';

describe('RFC 6962 known answers', () => {
  it(
    'has the roots of the reference tree at each size',
    proves('FED-18', () => {
      const range = CompactRange.empty();
      const roots = [toHex(range.root())];
      for (const leaf of VECTOR_LEAVES) {
        range.append(anyLeaf(leaf));
        roots.push(toHex(range.root()));
      }
      expect(roots).toEqual(VECTOR_ROOTS.map(toHex));
    }),
  );

  it.each([
    [0, 1, hex()],
    [0, 8, hex(N1, N01, N47)],
    [5, 8, hex(N4, N67, N03)],
    [2, 3, hex(N001)],
    [1, 5, hex(N0, N01, N4)],
  ])('verifies the inclusion of leaf %i in the tree of %i', (index, size, path) => {
    const leaf = anyLeaf(VECTOR_LEAVES[index] ?? new Uint8Array());
    expect(verifyInclusion(leaf, index, vector(size), path)).toBe(true);
  });

  it.each([
    [1, 1, hex()],
    [1, 8, hex(N1, N01, N47)],
    [6, 8, hex(N45, N67, N03)],
    [2, 5, hex(N01, N4)],
  ])('verifies that the tree of %i is the beginning of the tree of %i', (from, to, path) => {
    expect(verifyConsistency(vector(from), vector(to), path)).toBe(true);
  });
});

const entryOf = (index: number, salt = '') => sha256(Buffer.from(`${salt}entry ${String(index)}`));

/** A tree whose reader is the list itself; `reads` are the ranges that it was asked for. */
function treeOf(size: number, salt: (index: number) => string = () => '') {
  const entries = Array.from({ length: size }, (_, index) => entryOf(index, salt(index)));
  const reads: [number, number][] = [];
  const tree = new MerkleTree((start, end) => {
    reads.push([start, end]);
    return Promise.resolve(entries.slice(start, end));
  });
  for (const entry of entries) tree.append(entry);
  return { tree, entries, reads, state: { size, root: tree.root() } };
}

/** RFC 6962's definition, word for word. */
function definedRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return EMPTY_ROOT;
  const [only] = leaves;
  if (leaves.length === 1 && only !== undefined) return only;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(definedRoot(leaves.slice(0, split)), definedRoot(leaves.slice(split)));
}

describe('MerkleTree', () => {
  const sizes = fc.integer({ min: 1, max: 5_000 });
  const runs = { numRuns: 60 };
  const { tree, entries, state: whole, reads } = treeOf(5_000);
  const at = async (size: number) => ({ size, root: await tree.rootAt(size) });

  it('has the root of the definition at each earlier size', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, async (size) => {
        expect(toHex(await tree.rootAt(size))).toBe(toHex(definedRoot(entries.slice(0, size).map(leafHash))));
      }),
      runs,
    );
  });

  it(
    'proves each entry, and no other one, no other place and no other tree',
    proves('FED-18', async () => {
      await fc.assert(
        fc.asyncProperty(sizes, fc.nat(), async (size, any) => {
          const index = any % size;
          const tree_ = await at(size);
          const path = await tree.inclusionProof(index, size);
          const leaf = leafHash(entryOf(index));
          expect(verifyInclusion(leaf, index, tree_, path)).toBe(true);
          expect(verifyInclusion(leafHash(entryOf(index + 1)), index, tree_, path)).toBe(false);
          expect(verifyInclusion(leaf, index, { ...tree_, root: whole.root }, path)).toBe(size === whole.size);
          if (size > 1) {
            expect(verifyInclusion(leaf, (index + 1) % size, tree_, path)).toBe(false);
            expect(verifyInclusion(leaf, index, tree_, path.slice(1))).toBe(false);
          }
          expect(verifyInclusion(leaf, index, tree_, [...path, entryOf(0)])).toBe(false);
        }),
        runs,
      );
    }),
  );

  it(
    'proves that it has only grown',
    proves('FED-18', async () => {
      await fc.assert(
        fc.asyncProperty(sizes, sizes, fc.nat(), async (a, b, any) => {
          const [from, to] = a < b ? [a, b] : [b, a];
          const [earlier, later] = [await at(from), await at(to)];
          const proof = await tree.consistencyProof(from, to);
          expect(verifyConsistency(earlier, later, proof)).toBe(true);
          const forged = proof.map((node, index) => (index === any % proof.length ? entryOf(1) : node));
          if (proof.length > 0) expect(verifyConsistency(earlier, later, forged)).toBe(false);
          expect(verifyConsistency(earlier, later, [...proof, entryOf(2)])).toBe(false);
          if (from < to) expect(verifyConsistency(later, earlier, proof)).toBe(false);
        }),
        runs,
      );
    }),
  );

  it(
    'cannot prove that a log that was written anew is the old one grown, wherever the change is',
    proves('FED-18', async () => {
      const held = await at(700);
      for (const changed of [0, 1, 255, 511, 512, 698, 699]) {
        const forged = treeOf(1_500, (index) => (index === changed ? 'forged ' : ''));
        const proof = await forged.tree.consistencyProof(700, 1_500);
        expect(verifyConsistency(held, forged.state, proof)).toBe(false);
      }
      const honest = treeOf(1_500);
      expect(verifyConsistency(held, honest.state, await honest.tree.consistencyProof(700, 1_500))).toBe(true);
    }),
  );

  it('goes on from a compact range of any earlier size', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, async (size) => {
        const range = CompactRange.of(size, await tree.compactRange(size));
        for (const entry of entries.slice(size)) range.append(leafHash(entry));
        expect(toHex(range.root())).toBe(toHex(whole.root));
      }),
      { numRuns: 20 },
    );
  });

  it('reads at most a tile of old entries for each node of a proof, and none of the last two tiles', async () => {
    reads.length = 0;
    await tree.consistencyProof(4_300, 5_000);
    expect(reads).toEqual([]);
    await tree.inclusionProof(100, 5_000);
    expect(Math.max(...reads.map(([start, end]) => end - start))).toBeLessThan(1_024);
    expect(Math.max(...reads.map(([, end]) => end))).toBeLessThanOrEqual(1_024);
  });

  it('refuses what it does not have', async () => {
    await expect(tree.inclusionProof(0, 5_001)).rejects.toThrow(RangeError);
    await expect(tree.rootAt(5_001)).rejects.toThrow(RangeError);
    expect(() => CompactRange.of(3, [entryOf(0)])).toThrow(RangeError);
    await expect(new MerkleTree(() => Promise.resolve([])).inclusionProof(0, 0)).rejects.toThrow(RangeError);
  });
});
