import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeFrame, frameBytes } from './frame.js';
import { Journal, type OpenedJournal } from './journal.js';

interface Line {
  n: number;
  padding?: string;
}

describe("the register's journal", () => {
  let room: string;
  let file: string;
  const opened: Journal<Line>[] = [];

  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'capstan-journal-'));
    file = join(room, 'register');
  });
  afterEach(async () => {
    for (const journal of opened.splice(0)) await journal.close();
    rmSync(room, { recursive: true });
  });

  const AREA = 64 * 1024;
  const open = async (snapshot: () => Line[] = () => []): Promise<OpenedJournal<Line>> => {
    const result = await Journal.open<Line>(file, { snapshot, areaBytes: AREA });
    opened.push(result.journal);
    return result;
  };
  const reopened = async (): Promise<OpenedJournal<Line>> => {
    for (const journal of opened.splice(0)) await journal.close();
    return open();
  };
  const numbers = ({ records }: OpenedJournal<Line>) => records.map(({ n }) => n);
  const edit = (change: (bytes: Buffer) => void): void => {
    const bytes = readFileSync(file);
    change(bytes);
    writeFileSync(file, bytes);
  };
  /** Offsets of the frames after the first, in the first area. */
  const frames = (): number[] => {
    const bytes = readFileSync(file).subarray(0, AREA);
    const found: number[] = [];
    for (let at = 0; at < AREA && bytes.readUInt32BE(at) !== 0; at += frameBytes(bytes.readUInt32BE(at + 12)))
      found.push(at);
    return found.slice(1);
  };
  const withThree = async (): Promise<void> => {
    const { journal } = await open();
    for (const n of [1, 2, 3]) await journal.append({ n });
    await journal.close();
    opened.splice(0);
  };

  it('has its full length on disk before the first record, and is the owner’s alone', async () => {
    await open();
    const { size, blocks, mode } = statSync(file);
    expect(size).toBe(2 * AREA);
    expect(blocks * 512).toBeGreaterThanOrEqual(2 * AREA);
    expect(mode & 0o777).toBe(0o600);
  });

  it('gives back what was appended, in order, and never grows', async () => {
    const { journal } = await open();
    await Promise.all([1, 2, 3].map((n) => journal.append({ n })));
    await journal.append({ n: 4 });
    expect(numbers(await reopened())).toEqual([1, 2, 3, 4]);
    expect(statSync(file).size).toBe(2 * AREA);
  });

  it('writes records that come together with one fsync', async () => {
    const { journal } = await open();
    await Promise.all(Array.from({ length: 50 }, (_, n) => journal.append({ n })));
    expect(frames().length).toBeLessThan(3);
  });

  it('moves the state into the other area when one is full, again and again', async () => {
    const all: Line[] = [];
    const { journal } = await open(() => all.slice(-10));
    for (let n = 0; n < 400; n++) {
      all.push({ n, padding: 'x'.repeat(1000) });
      await journal.append(all.at(-1) ?? { n });
    }
    const found = numbers(await reopened());
    expect(found.at(-1)).toBe(399);
    expect(found).toEqual(Array.from({ length: found.length }, (_, index) => 400 - found.length + index));
  });

  it('forgets a last write that a crash cut off, at whatever byte', async () => {
    await withThree();
    const [, , last = 0] = frames();
    const whole = readFileSync(file);
    const end = last + frameBytes(whole.readUInt32BE(last + 12));
    for (let cut = last; cut < end - 8; cut += 3) {
      writeFileSync(file, whole);
      edit((bytes) => bytes.fill(0, cut, end));
      const result = await reopened();
      expect({ cut, found: numbers(result) }).toEqual({ cut, found: [1, 2] });
      await result.journal.append({ n: 9 });
      expect(numbers(await reopened())).toEqual([1, 2, 9]);
    }
  });

  it('says when a write was cut off', async () => {
    await withThree();
    expect((await reopened()).torn).toBe(false);
    edit((bytes) => bytes.fill(0, (frames()[2] ?? 0) + 24, AREA));
    expect((await reopened()).torn).toBe(true);
  });

  it('refuses a register in which anything but the last write is damaged', async () => {
    await withThree();
    const whole = readFileSync(file);
    const [first = 0, second = 0, third = 0] = frames();
    for (const at of [0, 5, 13, 17, 21, first, first + 9, first + 25, second + 1, third - 9]) {
      writeFileSync(file, whole);
      edit((bytes) => bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at));
      await expect(reopened()).rejects.toMatchObject({ code: 'register-damaged' });
    }
  });

  it('refuses a register that was cut short or lengthened', async () => {
    await withThree();
    const whole = readFileSync(file);
    for (const bytes of [
      whole.subarray(0, AREA),
      Buffer.alloc(0),
      Buffer.concat([whole, whole]),
      Buffer.alloc(2 * AREA),
    ]) {
      writeFileSync(file, bytes);
      await expect(reopened()).rejects.toMatchObject({ code: 'register-damaged' });
    }
  });

  it('keeps the old state when a crash cuts off the rewrite, and refuses when a finished rewrite is damaged', async () => {
    await withThree();
    const snapshot = encodeFrame({ generation: 2, sequence: 0, payload: Buffer.from('[{"n":7}]') });
    edit((bytes) => snapshot.copy(bytes, AREA, 0, snapshot.length - 12));
    expect(numbers(await reopened())).toEqual([1, 2, 3]);
    const later = encodeFrame({ generation: 2, sequence: 1, payload: Buffer.from('[{"n":8}]') });
    edit((bytes) => {
      snapshot.copy(bytes, AREA);
      later.copy(bytes, AREA + snapshot.length);
    });
    expect(numbers(await reopened())).toEqual([7, 8]);
    edit((bytes) => bytes.fill(1, AREA + 20, AREA + 22));
    await expect(reopened()).rejects.toMatchObject({ code: 'register-damaged' });
  });

  it('tries again after a failure, the whole state at once, and is settled only when that is on disk', async () => {
    let state: Line[] = [{ n: 0, padding: 'x'.repeat(2 * AREA) }];
    const { journal } = await open(() => state);
    await expect(journal.append({ n: 1, padding: 'x'.repeat(AREA) })).rejects.toMatchObject({
      code: 'register-failed',
    });
    await expect(journal.settled()).rejects.toMatchObject({ code: 'register-failed' });
    state = [{ n: 1 }, { n: 2 }];
    await journal.settled();
    expect(journal.isReserved).toBe(false);
    await journal.append({ n: 3 });
    expect(numbers(await reopened())).toEqual([1, 2, 3]);
  });

  it('is crowded, and later reserved, by what its state takes, written or on its way', async () => {
    const state: Line[] = [];
    const { journal } = await open(() => state);
    const add = (n: number): Promise<void> => {
      const line = { n, padding: 'x'.repeat(AREA / 8) };
      state.push(line);
      return journal.append(line);
    };
    const writes = [1, 2, 3].map(add);
    expect([journal.isCrowded, journal.isReserved]).toEqual([false, false]);
    writes.push(add(4));
    expect([journal.isCrowded, journal.isReserved]).toEqual([true, false]);
    writes.push(add(5), add(6));
    expect([journal.isCrowded, journal.isReserved]).toEqual([true, true]);
    await Promise.all(writes);
    state.length = 0;
    await journal.rewrite();
    expect([journal.isCrowded, journal.isReserved]).toEqual([false, false]);
  });

  it('fails loudly when the disk does, as long as it does', async () => {
    const { journal } = await open(() => [{ n: 0, padding: 'x'.repeat(2 * AREA) }]);
    const huge = journal.append({ n: 1, padding: 'x'.repeat(AREA) });
    await expect(huge).rejects.toMatchObject({ code: 'register-failed' });
    await expect(journal.append({ n: 2 })).rejects.toMatchObject({ code: 'register-failed' });
    expect(journal.isReserved).toBe(true);
  });
});
