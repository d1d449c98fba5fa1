import { appendFile, mkdtemp, readdir, readFile, rm, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { until } from '../../../../test/support/until.js';
import { JournalFile } from './journal-file.js';
import { journalLine, readJournal } from './journal-lines.js';
import { KillJournal } from './kill-journal.js';

interface Entry {
  name: string;
}

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'capstan-kills-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const sizes = async (): Promise<number[]> => {
  const names = await readdir(directory);
  return Promise.all(names.map(async (name) => (await readFile(join(directory, name))).length));
};

// Real files and processes on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

describe('the journal of kills', () => {
  it('gives what one life has not brought to the database to the next one, in order and once', async () => {
    const first = new KillJournal<Entry>(directory);
    const names = ['a', 'b', 'c'];
    await Promise.all(names.map((name) => first.append({ name }).written));
    await first.close();
    const second = new KillJournal<Entry>(directory);
    const [left, ...others] = await second.takeOver();
    expect(others).toEqual([]);
    expect(left).toMatchObject({ entries: names.map((name) => ({ name })), isTorn: false, damaged: [] });
    expect(await new KillJournal<Entry>(directory).takeOver()).toEqual([]);
    if (left !== undefined) await second.settle(left);
    expect(await readdir(directory)).toEqual([]);
  });

  it('is empty once everything is in the database, and only then', async () => {
    const journal = new KillJournal<Entry>(directory);
    const [a, b] = [journal.append({ name: 'a' }), journal.append({ name: 'b' })];
    await Promise.all([a.written, b.written]);
    a.done();
    const c = journal.append({ name: 'c' });
    await c.written;
    expect((await sizes())[0]).toBeGreaterThan(40);
    b.done();
    c.done();
    await until('it is empty', async () => (await sizes()).every((size) => size === 0));
    const d = journal.append({ name: 'd' });
    await d.written;
    await journal.close();
    const [left] = await new KillJournal<Entry>(directory).takeOver();
    expect(left?.entries).toEqual([{ name: 'd' }]);
  });

  it('leaves the file of a hub that runs alone, and takes over that of one that was killed', async () => {
    const living = new KillJournal<Entry>(directory);
    await living.append({ name: 'mine' }).written;
    const other = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)']);
    await once(other, 'spawn');
    const stat = await readFile(`/proc/${String(other.pid)}/stat`, 'utf8');
    const start = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).slice(0, 8);
    const name = `${String(other.pid)}-${start}-${boot}-1.kills`;
    await writeFile(join(directory, name), journalLine({ name: 'theirs' }));
    const starter = new KillJournal<Entry>(directory);
    try {
      expect(await starter.takeOver()).toEqual([]);
    } finally {
      other.kill('SIGKILL');
      await once(other, 'exit');
    }
    expect((await starter.takeOver()).map(({ entries }) => entries)).toEqual([[{ name: 'theirs' }]]);
    await living.close();
  });

  it('leaves what a hub in another container touches alone, though it has this one’s pid, and takes what nobody touches', async () => {
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).slice(0, 8);
    const theirs = join(directory, `${String(process.pid)}-1-${boot}-1-1.kills`);
    const left = join(directory, `${String(process.pid)}-1-${boot}-2-1.kills`);
    await writeFile(theirs, journalLine({ name: 'theirs' }));
    await writeFile(left, journalLine({ name: 'left' }));
    let second = 0;
    const beat = setInterval(() => {
      second += 1;
      void utimes(theirs, second, second);
    }, 50);
    const starter = new KillJournal<Entry>(directory);
    try {
      const found = await starter.takeOver();
      expect(found.map(({ entries }) => entries)).toEqual([[{ name: 'left' }]]);
      for (const each of found) await starter.settle(each);
    } finally {
      clearInterval(beat);
    }
    expect(await readdir(directory)).toEqual([theirs.slice(directory.length + 1)]);
  });

  it('touches its file, so that those who cannot see its process see that it lives', async () => {
    const journal = new KillJournal<Entry>(directory);
    await journal.append({ name: 'a' }).written;
    const [name = ''] = await readdir(directory);
    await utimes(join(directory, name), 1, 1);
    await until('it is touched', async () => (await stat(join(directory, name))).mtimeMs > 1_000);
    await journal.close();
  });

  it('begins another file where somebody has taken its own away', async () => {
    const journal = new KillJournal<Entry>(directory);
    await journal.append({ name: 'taken' }).written;
    const [name = ''] = await readdir(directory);
    await unlink(join(directory, name));
    await until('there is another', async () => (await readdir(directory)).some((each) => each !== name));
    await journal.append({ name: 'kept' }).written;
    await journal.close();
    const [left] = await new KillJournal<Entry>(directory).takeOver();
    expect(left?.entries).toEqual([{ name: 'kept' }]);
  });

  it('reads what is before a torn end, and says that it is torn', async () => {
    const whole = Buffer.concat([journalLine({ name: 'a' }), journalLine({ name: 'b' })]);
    for (let cut = 1; cut < journalLine({ name: 'b' }).length; cut += 1) {
      const { entries, isTorn, damaged } = readJournal<Entry>(whole.subarray(0, whole.length - cut));
      expect({ entries, isTorn, damaged }).toEqual({ entries: [{ name: 'a' }], isTorn: true, damaged: [] });
    }
  });

  it('finds each flipped bit, names the line, and keeps every other entry', () => {
    const lines = ['a', 'b', 'c'].map((name) => journalLine({ name }));
    const whole = Buffer.concat(lines);
    const [a = Buffer.alloc(0), b = Buffer.alloc(0)] = lines;
    for (let at = a.length; at < a.length + b.length - 1; at += 1) {
      const flipped = Buffer.from(whole);
      flipped[at] = (flipped[at] ?? 0) ^ 1;
      // A newline that came about so makes two damaged lines of one.
      const { entries, damaged } = readJournal<Entry>(flipped);
      expect(damaged.length).toBeGreaterThan(0);
      expect(damaged[0]).toBe(2);
      expect(entries).toEqual([{ name: 'a' }, { name: 'c' }]);
    }
  });

  it('puts a damaged file aside instead of removing it', async () => {
    const first = new KillJournal<Entry>(directory);
    await first.append({ name: 'a' }).written;
    await first.close();
    const [name = ''] = await readdir(directory);
    await appendFile(join(directory, name), '00000000 {"name":"b"}\n');
    const second = new KillJournal<Entry>(directory);
    const [left] = await second.takeOver();
    expect(left).toMatchObject({ entries: [{ name: 'a' }], damaged: [2] });
    if (left !== undefined) await second.settle(left);
    expect(await readdir(directory)).toEqual([expect.stringMatching(/\.kills\.damaged$/)]);
    expect(await second.takeOver()).toEqual([]);
  });

  it('says so where a disk is full, each time, and never hangs', async () => {
    const full = await JournalFile.make('/dev/full');
    for (const name of ['a', 'b']) {
      await expect(full.append({ name })).rejects.toMatchObject({ code: 'kill-journal', cause: { code: 'ENOSPC' } });
    }
    await full.close();
  });

  it('begins another file once the disk has room again', async () => {
    const blocked = join(directory, 'blocked');
    await writeFile(blocked, '');
    const journal = new KillJournal<Entry>(blocked);
    await journal.prepare();
    const lost = journal.append({ name: 'lost' });
    await expect(lost.written).rejects.toMatchObject({ code: 'kill-journal' });
    await rm(blocked);
    const kept = journal.append({ name: 'kept' });
    await kept.written;
    lost.done();
    await journal.close();
    const [left] = await new KillJournal<Entry>(blocked).takeOver();
    expect(left?.entries).toEqual([{ name: 'kept' }]);
  });
});
