import { agentId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { Vitals } from './vitals.js';

const BEGAN = 1_000_000;
const POLICY = { afterMs: 10_000, action: 'notify' } as const;

/** @param cpuMs used in each second. */
function vitalsAfter(seconds: number, cpuMs: number): Vitals {
  const vitals = new Vitals(agentId('a'));
  for (let second = 0; second <= seconds; second += 1)
    vitals.add({ atMs: BEGAN + second * 1000, cpuMs: second * cpuMs, memoryBytes: 1000 - second, processes: 3 });
  return vitals;
}

describe('the vitals of an agent', () => {
  it(
    'count as stalled after as long as the owner says, once, and no more when it goes on',
    proves('ORC-L5', () => {
      const vitals = vitalsAfter(20, 0);
      expect(vitals.judge(POLICY, BEGAN, BEGAN + 9_999)).toBeUndefined();
      expect(vitals.judge(POLICY, BEGAN, BEGAN + 10_000)).toMatchObject({
        stalled: true,
        silentMs: 10_000,
        action: 'notify',
        reason: 'No line and no answer of the model for 10 s; its processes are idle.',
      });
      expect(vitals.judge(POLICY, BEGAN, BEGAN + 11_000)).toBeUndefined();
      expect(vitals.view(BEGAN)?.stalled).toContain('idle');
      const again = BEGAN + 12_000;
      expect(vitals.judge(POLICY, again, again)).toMatchObject({ stalled: false, reason: '', action: 'none' });
      expect(vitals.view(again)?.stalled).toBeNull();
    }),
  );

  it('tell an agent that spins from one that waits', () => {
    const reason = vitalsAfter(20, 1500).judge(POLICY, BEGAN, BEGAN + 20_000)?.reason;
    expect(reason).toBe('No line and no answer of the model for 20 s, while its processes use 1.50 processors.');
  });

  it('never count as stalled where the owner does not ask for it', () => {
    expect(vitalsAfter(20, 0).judge(undefined, BEGAN, BEGAN + 1e9)).toBeUndefined();
  });

  it('keep a bounded number of samples, and the peak of all', () => {
    const vitals = vitalsAfter(500, 10);
    expect(vitals.all()).toHaveLength(120);
    expect(vitals.view(BEGAN)).toMatchObject({ cpuMs: 5000, cpuMilli: 10, memoryBytes: 500, peakMemoryBytes: 1000 });
  });
});
