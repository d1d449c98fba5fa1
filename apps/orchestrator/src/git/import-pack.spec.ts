import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { deflateSync } from 'node:zlib';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { GitRoom } from '../../test/git-room.js';
import { HARVEST_LIMITS } from './harvest-limits.js';
import { quarantinesOf } from './held-harvest.js';
import { importPack } from './import-pack.js';
import type { BareRepository } from './index.js';

jest.setTimeout(60_000);

describe('a pack from a harvest that was taken over', () => {
  let room: GitRoom;
  let source: TestRepository;
  let repository: BareRepository;
  let base: string;
  /** Where the attacker makes objects that git itself would not make. */
  let forge: string;

  beforeEach(async () => {
    room = new GitRoom();
    source = new TestRepository();
    repository = await room.store.open('default', source.path);
    base = (await repository.resolveBranch('')).commit;
    forge = mkdtempSync(join(tmpdir(), 'capstan-forge-'));
    git(forge, 'init', '-q');
  });
  afterEach(() => {
    for (const each of [room, source]) each[Symbol.dispose]();
    rmSync(forge, { recursive: true });
  });

  const object = (type: string, bytes: string | Buffer): string =>
    execFileSync('git', ['hash-object', '-w', '--literally', '--stdin', '-t', type], { cwd: forge, input: bytes })
      .toString()
      .trim();
  const entry = (mode: string, name: string, id: string): Buffer =>
    Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(id, 'hex')]);
  const pack = (...ids: string[]): Buffer =>
    execFileSync('git', ['pack-objects', '--stdout', '-q'], { cwd: forge, input: ids.join('\n') });
  const send = (tree: string, bytes: Buffer) => {
    const stream = Readable.from([Buffer.from(`${tree}\n`), bytes]);
    return importPack({ repository, base, stream, limits: HARVEST_LIMITS, links: 'refuse' });
  };
  const packs = () => readdirSync(join(repository.dir, 'objects', 'pack')).length;

  it.each(['.git', '.GIT', '..', '.', 'a/b', '', 'git~1', '.git\u200c'])('refuses a tree with an entry %j', (name) =>
    proves('SEC-02', async () => {
      const before = packs();
      const blob = object('blob', 'x');
      const inner = object('tree', entry('100644', 'config', blob));
      const tree = object('tree', entry('40000', name, inner));
      await expect(send(tree, pack(blob, inner, tree))).rejects.toMatchObject({ code: 'harvest-refused' });
      expect(packs()).toBe(before);
      expect(readdirSync(quarantinesOf(repository.dir))).toEqual([]);
    })(),
  );

  it('takes a sound one', async () => {
    const blob = object('blob', 'x');
    const tree = object('tree', entry('100644', 'file', blob));
    expect(await send(tree, pack(blob, tree))).toEqual({ tree, files: ['README.md', 'file'] });
    await repository.git(['fsck', '--strict']);
  });

  it('refuses a link to a commit of another repository', async () => {
    const tree = object('tree', entry('160000', 'sub', 'a'.repeat(40)));
    await expect(send(tree, pack(tree))).rejects.toMatchObject({
      code: 'harvest-refused',
      detail: expect.stringContaining('sub'),
    });
  });

  it('refuses a tree whose objects are missing', async () => {
    const blob = object('blob', 'never sent');
    const tree = object('tree', entry('100644', 'file', blob));
    await expect(send(tree, pack(tree))).rejects.toMatchObject({ code: 'harvest-refused' });
  });

  it('refuses a commit where a tree is due', async () => {
    const blob = object('blob', 'x');
    const tree = object('tree', entry('100644', 'file', blob));
    const who = 'a <a@example.org> 0 +0000';
    const commit = object('commit', `tree ${tree}\nauthor ${who}\ncommitter ${who}\n\nx\n`);
    await expect(send(commit, pack(blob, tree, commit))).rejects.toMatchObject({
      code: 'harvest-refused',
      detail: `${commit} is no tree`,
    });
  });

  it('refuses a name that is no tree, or is not there', async () => {
    const blob = object('blob', 'x');
    await expect(send(blob, pack(blob))).rejects.toMatchObject({ code: 'harvest-refused' });
    await expect(send('b'.repeat(40), pack(blob))).rejects.toMatchObject({ code: 'harvest-refused' });
    for (const name of ['--help', 'HEAD', '', 'x'.repeat(500)]) {
      await expect(send(name, pack(blob))).rejects.toMatchObject({
        code: 'harvest-refused',
        detail: 'no tree was named',
      });
    }
  });

  /** A pack of a few kilobytes whose one delta makes a file of a gigabyte. */
  function deltaBomb(): { tree: string; bytes: Buffer } {
    const head = (type: number, size: number): Buffer => {
      const bytes = [(type << 4) | (size & 15)];
      for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
        bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80;
        bytes.push(rest & 0x7f);
      }
      return Buffer.from(bytes);
    };
    const varint = (value: number): Buffer => {
      const bytes: number[] = [];
      for (let rest = value; ; rest = Math.floor(rest / 128)) {
        if (rest < 128) return Buffer.from([...bytes, rest]);
        bytes.push((rest & 0x7f) | 0x80);
      }
    };
    const base = Buffer.alloc(65_536, 'a');
    const copies = 16_384;
    // Each copies 65,536 bytes from the beginning of the base: a size of 0 stands for that.
    const delta = Buffer.concat([varint(base.length), varint(base.length * copies), Buffer.alloc(copies, 0x80)]);
    const baseId = createHash('sha1')
      .update(`blob ${String(base.length)}\0`)
      .update(base)
      .digest();
    const tree = object('tree', entry('100644', 'file', object('blob', 'x')));
    const listed = Buffer.from(execFileSync('git', ['cat-file', 'tree', tree], { cwd: forge }));
    const head3 = Buffer.from([...Buffer.from('PACK'), 0, 0, 0, 2, 0, 0, 0, 3]);
    const body = Buffer.concat([
      head3,
      ...[head(3, base.length), deflateSync(base)],
      ...[head(7, delta.length), baseId, deflateSync(delta)],
      ...[head(2, listed.length), deflateSync(listed)],
    ]);
    return { tree, bytes: Buffer.concat([body, createHash('sha1').update(body).digest()]) };
  }

  it(
    'refuses a delta that makes a gigabyte of a kilobyte, before it has the memory for it',
    proves('SEC-02', async () => {
      const { tree, bytes } = deltaBomb();
      expect(bytes.length).toBeLessThan(100_000);
      await expect(send(tree, bytes)).rejects.toMatchObject({
        code: 'harvest-refused',
        detail: expect.stringMatching(/over limit/),
      });
    }),
  );

  it('refuses noise, a pack that was cut, and no pack at all', async () => {
    const blob = object('blob', 'x');
    const tree = object('tree', entry('100644', 'file', blob));
    const whole = pack(blob, tree);
    for (const bytes of [Buffer.from('noise'), whole.subarray(0, -3), Buffer.alloc(0)]) {
      await expect(send(tree, bytes)).rejects.toMatchObject({ code: 'harvest-refused' });
    }
  });
});
