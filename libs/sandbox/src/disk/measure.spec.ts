import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KillHandle } from '../kill/handle.js';
import { bootId, readProcess, type ProcessView } from '../kill/process.js';
import { measureNameless, measureTrees, TREES } from './measure.js';

const MIB = 1 << 20;
const isRoot = process.getuid?.() === 0;
const asRoot = isRoot ? it : it.skip;

describe('what a directory holds', () => {
  let room: string;
  beforeEach(() => (room = mkdtempSync(join(tmpdir(), 'capstan-measure-'))));
  afterEach(() => {
    execFileSync('chmod', ['-R', 'u+rwX', room]);
    execFileSync('rm', ['-rf', room]);
  });

  it('is what the disk gives for it: a hole is nothing, a file of two names one, a link not where it leads', async () => {
    const outside = mkdtempSync(join(tmpdir(), 'capstan-outside-'));
    const tree = join(room, 'tree');
    mkdirSync(tree);
    const empty = await measureTrees([tree]);
    writeFileSync(join(outside, 'large'), Buffer.alloc(8 * MIB, 1));
    writeFileSync(join(tree, 'line\nend'), Buffer.alloc(MIB, 1));
    linkSync(join(tree, 'line\nend'), join(tree, '-option'));
    writeFileSync(join(tree, 'hole'), '');
    truncateSync(join(tree, 'hole'), 1024 * MIB);
    symlinkSync(outside, join(tree, 'link'));
    const use = await measureTrees([tree]);
    rmSync(outside, { recursive: true });
    expect(empty?.entries).toBe(1);
    expect(use?.entries).toBe(5);
    const grown = (use?.bytes ?? 0) - (empty?.bytes ?? 0);
    expect(grown).toBeGreaterThanOrEqual(MIB);
    expect(grown).toBeLessThan(MIB + 64 * 1024);
    symlinkSync(tree, join(room, 'swapped'));
    expect(await measureTrees([join(room, 'swapped')])).toMatchObject({ entries: 1 });
  });

  asRoot('ends where another file system begins', async () => {
    mkdirSync(join(room, 'other'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', join(room, 'other')]);
    try {
      writeFileSync(join(room, 'other', 'large'), Buffer.alloc(MIB, 1));
      expect(await measureTrees([room])).toMatchObject({ entries: 2 });
    } finally {
      execFileSync('umount', [join(room, 'other')]);
    }
  });

  it('is counted however deep it lies', async () => {
    const dig = `const { mkdirSync, writeFileSync } = require('fs'), name = 'd'.repeat(200);
      for (let left = 300; left > 0; left -= 1) { mkdirSync(name); process.chdir(name); }
      writeFileSync('end', '');`;
    execFileSync(process.execPath, ['-e', dig], { cwd: room });
    expect(await measureTrees([room])).toMatchObject({ entries: 302 });
  });

  it('has directories of one name each, however many links the file system says they have', async () => {
    const places = ['', 'a', 'a/b', 'a/c', 'a/d'].map((name) => join(room, name));
    for (const place of places) mkdirSync(place, { recursive: true });
    const blocks = places.reduce((sum, place) => sum + statSync(place).blocks, 0);
    expect(await measureTrees([room])).toEqual({ bytes: blocks * 512, entries: places.length });
  });

  it.each([
    ['is known although something was gone, or closed, meanwhile', 'exit 1', '4096 1\n'],
    ['is not known where it was not counted to its end', 'kill -KILL $$', ''],
  ])('%s', (_what, end, said) => {
    writeFileSync(join(room, 'find'), `#!/bin/sh\necho f 8 1\n${end}\n`, { mode: 0o755 });
    const { stdout } = spawnSync('/bin/sh', ['-c', TREES, 'measure', '1e15', '1e15', room], {
      env: { PATH: `${room}:${process.env['PATH'] ?? ''}` },
      encoding: 'utf8',
    });
    expect(stdout).toBe(said);
  });

  it('is read no further than it matters, and is not known where there is nothing', async () => {
    for (let count = 0; count < 50; count += 1) writeFileSync(join(room, String(count)), 'x');
    expect(await measureTrees([room], { bytes: Infinity, entries: 10 })).toMatchObject({ entries: 11 });
    expect(await measureTrees([join(room, 'absent')])).toBeUndefined();
    expect(await measureTrees([room], undefined, AbortSignal.abort())).toBeUndefined();
  });

  // Whose mappings are looked through, and not only listed, is for root to say.
  asRoot('has no name any more, and is mapped still: a program that removed itself, say', async () => {
    const program = join(room, 'program');
    copyFileSync('/bin/sleep', program);
    const { size, dev } = statSync(program);
    const child = spawn(program, ['1000']);
    try {
      await once(child, 'spawn');
      const { pid, startTicks } = readProcess(child.pid ?? 0) as ProcessView;
      const processes = [{ pid, startTicks }];
      const handle: KillHandle = { driver: 'bubblewrap', bootId: bootId(), processes, pidNamespace: 0n, cgroup: '' };
      const nameless = (): Promise<number | undefined> => measureNameless(handle, [dev]);
      expect(await nameless()).toBe(0);
      rmSync(program);
      expect(await nameless()).toBeGreaterThanOrEqual(size);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('is read by whoever owns it, although he has closed it to himself', () => {
    const closed = join(room, 'closed');
    mkdirSync(closed);
    writeFileSync(join(closed, 'large'), Buffer.alloc(MIB, 1));
    chmodSync(closed, 0);
    const ids = isRoot ? { uid: 234_570, gid: 234_570 } : {};
    if (ids.uid !== undefined) execFileSync('chown', ['-R', `${String(ids.uid)}:${String(ids.gid)}`, room]);
    const { stdout } = spawnSync('/bin/sh', ['-c', TREES, 'measure', '1e15', '1e15', room], {
      ...ids,
      encoding: 'utf8',
    });
    expect(stdout).toMatch(/^\d{7,} 3\n$/);
  });
});
