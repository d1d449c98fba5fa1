import { ReceiptsInHand } from './receipts-in-hand.js';

it('takes a receipt once, however often it comes meanwhile, and again after it has failed', async () => {
  const inHand = new ReceiptsInHand();
  const first = Promise.withResolvers<void>();
  let taken = 0;
  const take = (): Promise<void> => ((taken += 1), first.promise);
  const all = [inHand.once('a', take), inHand.once('a', take), inHand.once('b', take)];
  first.reject(new Error('the disk'));
  for (const each of all) await expect(each).rejects.toThrow('the disk');
  expect(taken).toBe(2);
  await inHand.once('a', () => Promise.resolve(void (taken += 1)));
  expect(taken).toBe(3);
});

it('has so much of one instance on its way to the disk and no more; of the others too', async () => {
  const inHand = new ReceiptsInHand();
  const disk = Promise.withResolvers<void>();
  const half = 512 * 1024;
  const write = (): Promise<void> => disk.promise;
  const held = [inHand.counted('harbor', half, write), inHand.counted('harbor', half, write)];
  await expect(inHand.counted('harbor', 1, write)).rejects.toMatchObject({ code: 'queue-unavailable' });
  held.push(inHand.counted('quay', half, write));
  disk.resolve();
  await Promise.all(held);
  await inHand.counted('harbor', half, write);
});
