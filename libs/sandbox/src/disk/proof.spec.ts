import { Proof } from './proof.js';

describe('that an agent is past its bound', () => {
  const RUNNING = { still: false };
  const STILL = { still: true };
  const looks = (...each: { still: boolean; isPast?: boolean }[]): boolean[] => {
    const proof = new Proof();
    return each.map(({ still, isPast = true }) => proof.add(isPast, still));
  };

  it('is proven by no single look', () => {
    expect(looks(RUNNING)).toEqual([false]);
    expect(looks(STILL)).toEqual([false]);
  });

  it('is proven by a second one, for which it stands still, and by a third where it cannot', () => {
    expect(looks(RUNNING, STILL)).toEqual([false, true]);
    expect(looks(STILL, STILL)).toEqual([false, true]);
    expect(looks(RUNNING, RUNNING, RUNNING)).toEqual([false, false, true]);
  });

  it('is to be proven anew after a look that says otherwise', () => {
    const within = { still: true, isPast: false };
    expect(looks(RUNNING, RUNNING, within, RUNNING, RUNNING)).not.toContain(true);
  });
});
