import { Turns } from './turns.js';

describe('Turns', () => {
  it('lets so many run at once, the others in their order, and hands on the place of one that failed', async () => {
    const turns = new Turns(2);
    const ends = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
    const begun: number[] = [];
    const all = ends.map(({ promise }, at) =>
      turns.run(async () => {
        begun.push(at);
        await promise;
      }),
    );
    const settled = Promise.allSettled(all);
    expect(begun).toEqual([0, 1]);
    ends[1]?.reject(new Error('on purpose'));
    await all[1]?.catch(() => undefined);
    expect(begun).toEqual([0, 1, 2]);
    for (const { resolve } of ends) resolve();
    expect((await settled).map(({ status }) => status).filter((status) => status === 'rejected')).toHaveLength(1);
    expect(begun).toEqual([0, 1, 2, 3, 4]);
  });

  it('lets go whoever waits and does not want to any more', async () => {
    const turns = new Turns(1);
    const [held, gone] = [Promise.withResolvers<void>(), new AbortController()];
    const first = turns.run(() => held.promise);
    const left = turns.run(() => Promise.resolve('left'), gone.signal);
    const last = turns.run(() => Promise.resolve('last'));
    gone.abort(new Error('the end'));
    await expect(left).rejects.toThrow('the end');
    held.resolve();
    await first;
    expect(await last).toBe('last');
    await expect(turns.run(() => Promise.resolve('late'), gone.signal)).rejects.toThrow('the end');
    expect(await turns.run(() => Promise.resolve('free'))).toBe('free');
  });
});
