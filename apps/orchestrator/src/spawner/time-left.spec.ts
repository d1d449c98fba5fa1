import { readProcess, type RunningSandbox } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import { planFor } from '../../test/plans.js';
import type { Claim } from '../valkey/agent.store.js';
import { timeLeft } from './time-left.js';

const DAY_MS = 86_400_000;

describe('the time that an agent has left', () => {
  const left = (startedAt: string | null, startTicks: bigint): number => {
    const claim = { plan: { ...planFor(), timeoutMs: 30 * DAY_MS }, agent: { startedAt } } as unknown as Claim;
    const handle = { processes: [{ pid: 1, startTicks }] };
    return timeLeft(claim, { handle } as unknown as RunningSandbox);
  };
  const now = readProcess(process.pid)?.startTicks ?? 0n;

  it('is all of it where it starts now', () => {
    expect(left(null, 0n)).toBe(30 * DAY_MS);
  });

  it(
    'does not go by a clock that was set ahead or back',
    proves('ORC-109', async () => {
      for (const startedAt of ['2001-01-01T00:00:00.000Z', '2999-01-01T00:00:00.000Z']) {
        expect(left(startedAt, now)).toBeLessThan(30 * DAY_MS);
        expect(left(startedAt, now)).toBeGreaterThan(29 * DAY_MS);
        expect(left(startedAt, now - BigInt(DAY_MS / 10))).toBeLessThan(29 * DAY_MS);
        expect(left(startedAt, now - BigInt(31 * (DAY_MS / 10)))).toBe(0);
      }
    }),
  );
});
