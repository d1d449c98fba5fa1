import { parsePolicy } from './owner-policy.js';

const SPAWN =
  'version: 1\nspawn: { runtimes: [claude], repositories: [/srv/*], tenants: [a], concurrency: 1, budgetMicroUsd: 1, timeoutMs: 1, sandboxes: [bubblewrap] }\n';

describe('when a conversation is summed up', () => {
  it('stands in the policy file; what is left out is as it is without', () => {
    expect(parsePolicy(SPAWN)).not.toHaveProperty('compaction');
    expect(parsePolicy(`${SPAWN}compaction: { contextTokens: 1000000 }\n`).compaction).toEqual({
      contextTokens: 1_000_000,
      atPercent: 80,
    });
  });

  it.each(['7', '[]', '{ contextTokens: 19999 }', '{ atPercent: 95 }', '{ atPercent: half }', '{ percent: 50 }'])(
    'is a fault where it is %s',
    (wrong) => {
      expect(() => parsePolicy(`${SPAWN}compaction: ${wrong}\n`)).toThrow('policy-invalid');
    },
  );
});
