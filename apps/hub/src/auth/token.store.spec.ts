import type { DatabaseService } from '../database/database.service.js';
import { until } from '../../../../test/support/until.js';
import { digestOf, TokenStore } from './token.store.js';

test('a token that was taken back is not brought back by a look at the disk that began before', async () => {
  let table = [
    { name: 'carol', digest: digestOf('her token'), createdAt: new Date(), madeBy: ['admin'], removedAt: null },
  ];
  const answers: (() => void)[] = [];
  const orderBy = (): Promise<typeof table> => {
    const rows = table;
    return new Promise((resolve) =>
      answers.push(() => {
        resolve(rows);
      }),
    );
  };
  const db = { select: () => ({ from: () => ({ orderBy }) }) };
  const store = new TokenStore({ db } as unknown as DatabaseService);
  let isOver = false;
  const before = store.reload();
  await until('it looks', () => answers.length === 1);
  table = [];
  const after = store.reload();
  const both = Promise.all([before, after]).then(() => {
    isOver = true;
  });
  // The database answers the newest question first.
  await until('both have looked', () => {
    answers.pop()?.();
    return isOver;
  });
  await both;
  expect(store.nameOf('her token')).toBeUndefined();
});
