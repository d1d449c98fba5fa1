import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LocalFault } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { checkPolicy, type SpawnRequestFacts } from './check-policy.js';
import { loadPolicy, type OwnerPolicy, parsePolicy } from './owner-policy.js';

const POLICY: OwnerPolicy = {
  version: 1,
  onRevoked: 'kill',
  demandOperatorSignature: [],
  peers: [],
  spawn: {
    runtimes: ['claude'],
    repositories: ['https://git.example/one.git', '/srv/remotes/*'],
    tenants: ['default'],
    concurrency: 2,
    budgetMicroUsd: 1000,
    timeoutMs: 5000,
    sandboxes: ['bubblewrap'],
  },
};
const ALLOWED: SpawnRequestFacts = { runtime: 'claude', repository: '/srv/remotes/a.git', tenant: 'default' };

describe("the owner's policy", () => {
  it(
    'allows what it names, and fills in the limits',
    proves('FED-15', () => {
      expect(checkPolicy(POLICY, ALLOWED)).toEqual({ budgetMicroUsd: 1000, timeoutMs: 5000, sandbox: 'bubblewrap' });
      expect(
        checkPolicy(POLICY, {
          ...ALLOWED,
          repository: 'https://git.example/one.git',
          budgetMicroUsd: 10n,
          timeoutMs: 1,
        }),
      ).toMatchObject({ budgetMicroUsd: 10, timeoutMs: 1 });
    }),
  );

  it.each<[string, Partial<SpawnRequestFacts>]>([
    ['policy-runtime', { runtime: 'command' }],
    ['policy-repository', { repository: 'https://git.example/two.git' }],
    ['policy-tenant', { tenant: 'other' }],
    ['policy-sandbox', { sandbox: 'none' }],
    ['policy-budget', { budgetMicroUsd: 1001 }],
    ['policy-budget', { budgetMicroUsd: -1 }],
    ['policy-timeout', { timeoutMs: 5001n }],
    ['policy-concurrency', { active: 2 }],
  ])('refuses with %s: %j', (code, change) =>
    proves('FED-15', () => {
      expect(() => checkPolicy(POLICY, { ...ALLOWED, ...change })).toThrow(expect.objectContaining({ code }));
    })(),
  );

  it.each([
    '/srv/remotes/',
    '/srv/remotes',
    '/srv/remotes/../etc',
    '/srv/remotes/a/%2e%2e/b',
    '/srv/remotes/a\\..\\b',
    '/srv/remotes/..',
    '/srv/remotes/a%2Fb',
    '',
  ])('does not let "%s" out of a prefix', (repository) => {
    expect(() => checkPolicy(POLICY, { ...ALLOWED, repository })).toThrow(
      expect.objectContaining({ code: 'policy-repository' }),
    );
  });

  it('is refused as a whole, with every fault, where a limit is misspelt or missing', () => {
    const parse = (): unknown =>
      parsePolicy('version: 2\nspawn: { runtimes: claude, tenants: [a], concurency: 3, budgetMicroUsd: -1 }');
    for (const part of [
      'version must be 1',
      'unknown field "concurency"',
      'spawn.runtimes',
      'spawn.concurrency',
      'spawn.budgetMicroUsd',
      'spawn.timeoutMs',
    ]) {
      expect(parse).toThrow(
        expect.objectContaining({ code: 'policy-invalid', sentence: expect.stringContaining(part) as string }),
      );
    }
  });

  it(
    'is named without its place on the host, which whoever orders here is not told',
    proves('FED-15', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'capstan-policy-'));
      const file = join(directory, 'policy.yaml');
      try {
        for (const text of [undefined, 'version: {', 'version: 2']) {
          if (text !== undefined) writeFileSync(file, text);
          const fault: unknown = await loadPolicy(file).catch((error: unknown) => error);
          expect(fault).toMatchObject({ code: expect.stringMatching(/^policy-/), detail: file });
          expect((fault as LocalFault).sentence).toMatch(/^The owner's policy\.yaml /);
          expect((fault as LocalFault).sentence).not.toContain(directory);
        }
      } finally {
        rmSync(directory, { recursive: true });
      }
    }),
  );

  it('says what becomes of the agents of a revoked instance; they die unless it says otherwise', () => {
    const text = `version: 1\nspawn: ${JSON.stringify(POLICY.spawn)}\n`;
    expect(parsePolicy(text).onRevoked).toBe('kill');
    expect(parsePolicy(`${text}onRevoked: keep\n`).onRevoked).toBe('keep');
    expect(() => parsePolicy(`${text}onRevoked: later\n`)).toThrow(/onRevoked/);
  });

  it(
    'may demand that the kill path was proven lately',
    proves('FED-22', () => {
      const spawn = `spawn: ${JSON.stringify(POLICY.spawn)}`;
      expect(parsePolicy(`version: 1\nrequireProbeWithinMs: 60000\n${spawn}`).requireProbeWithinMs).toBe(60_000);
      expect(parsePolicy(`version: 1\n${spawn}`).requireProbeWithinMs).toBeUndefined();
      for (const wrong of ['0', '-1', 'soon', 'null'])
        expect(() => parsePolicy(`version: 1\nrequireProbeWithinMs: ${wrong}\n${spawn}`)).toThrow(
          expect.objectContaining({ code: 'policy-invalid' }),
        );
    }),
  );

  it.each(['{', 'null', '[]', 'version: 1', ''])('is refused where it is no policy: %j', (text) => {
    expect(() => parsePolicy(text)).toThrow(expect.objectContaining({ code: 'policy-invalid' }));
  });
});
