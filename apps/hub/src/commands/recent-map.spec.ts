import { RecentMap } from './recent-map.js';

test('remembers the last entries and forgets the old, with the newest value of each', () => {
  const recent = new RecentMap<number, string>(10);
  for (let n = 0; n < 35; n++) recent.set(n, 'old');
  recent.set(30, 'new');
  for (let n = 25; n < 35; n++) expect(recent.has(n)).toBe(true);
  for (let n = 0; n < 15; n++) expect(recent.get(n)).toBeUndefined();
  expect(recent.get(30)).toBe('new');
});
