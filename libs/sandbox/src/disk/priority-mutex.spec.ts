import { PriorityMutex } from './priority-mutex.js';

describe('turns of work', () => {
  /** Work that goes on until it is told to end. */
  const held = (): { work: () => Promise<void>; end: () => void } => {
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    return { work: () => ended, end };
  };

  it('are one at a time, that of whoever has least left first', async () => {
    const mutex = new PriorityMutex(60_000);
    const order: string[] = [];
    const { work, end } = held();
    let [atOnce, most] = [0, 0];
    const note = (name: string) => async (): Promise<void> => {
      atOnce += 1;
      order.push(name);
      await Promise.resolve();
      most = Math.max(most, atOnce);
      atOnce -= 1;
    };
    const all = [mutex.take(9, work), ...[5, 3, 4].map((left) => mutex.take(left, note(String(left))))];
    expect(order).toEqual([]);
    end();
    await Promise.all(all);
    expect(order).toEqual(['3', '4', '5']);
    expect(most).toBe(1);
    await mutex.take(1, note('again'));
    expect(order.at(-1)).toBe('again');
  });

  it('are passed on after work that fails', async () => {
    const mutex = new PriorityMutex(60_000);
    const failing = mutex.take(1, () => Promise.reject(new Error('it failed')));
    const next = mutex.take(2, () => Promise.resolve('done'));
    await expect(failing).rejects.toThrow('it failed');
    expect(await next).toBe('done');
  });

  it('come to everybody: who has waited long enough has the next one', async () => {
    const mutex = new PriorityMutex(0);
    const order: number[] = [];
    const { work, end } = held();
    const all: Promise<unknown>[] = [
      mutex.take(1, work),
      ...[7, 2].map((left) => mutex.take(left, () => Promise.resolve(order.push(left)))),
    ];
    end();
    await Promise.all(all);
    expect(order).toEqual([7, 2]);
  });
});
