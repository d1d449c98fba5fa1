import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { grantChain, keyRecord, KeyRing, SigningKey, verifyGrantChain } from '@capstan/identity';
import { toHex } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { readGrantFile } from '../grants/grant-file.js';
import { runCli } from '../run-cli.js';

describe('capstan grant', () => {
  let dir: string;
  let ada: SigningKey;
  let ci: SigningKey;
  const nightly = SigningKey.generate();

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'capstan-grant-'));
    [ada, ci] = await Promise.all([SigningKey.create(join(dir, 'ada.key')), SigningKey.create(join(dir, 'ci.key'))]);
  });
  afterAll(() => rm(dir, { recursive: true }));

  async function capstan(...args: string[]): Promise<{ code: number; answer: Record<string, unknown> }> {
    let out = '';
    const streams = { out: { write: (text: string) => (out += text) }, err: { write: () => undefined } };
    const code = await runCli([...args, '--json'], streams);
    return { code, answer: JSON.parse(out) as Record<string, unknown> };
  }

  const first = (...more: string[]): Promise<{ code: number; answer: Record<string, unknown> }> =>
    capstan(
      ...['grant', 'create', '--key', join(dir, 'ada.key'), '--as', 'op-ada', '--to', 'op-ci'],
      ...['--to-key', toHex(ci.publicKey), '--out', join(dir, 'first.json'), ...more],
    );
  const second = (...more: string[]): Promise<{ code: number; answer: Record<string, unknown> }> =>
    capstan(
      ...['grant', 'create', '--key', join(dir, 'ci.key'), '--as', 'op-ci', '--to', 'op-nightly'],
      ...['--to-key', toHex(nightly.publicKey), '--parent', join(dir, 'first.json')],
      ...['--out', join(dir, 'second.json'), ...more],
    );

  it(
    'makes chains that hold, each no wider than the one it stands on',
    proves('FED-14', async () => {
      const scope = ['--verb', 'agent.spawn', '--verb', 'agent.kill', '--on', 'quay', '--repo', '/srv/*'];
      expect((await first(...scope, '--budget', '2.5', '--depth', '1')).code).toBe(0);
      expect(await second('--verb', 'agent.spawn', '--budget', '1')).toMatchObject({
        code: 0,
        answer: { kind: 'capstan.grant', grant: { from: 'op-ci', to: 'op-nightly', budgetMicroUsd: 1_000_000 } },
      });
      const chain = await readGrantFile(join(dir, 'second.json'));
      const keys = new KeyRing([keyRecord('op-ada', ada.publicKey, ['command', 'grant'])]);
      const key = keyRecord('op-nightly', nightly.publicKey, ['command']);
      const act = { verb: 'agent.spawn', instance: 'quay', tenant: 'default', repository: '/srv/one' };
      const command = { ...act, issuer: 'op-nightly', key };
      expect(verifyGrantChain({ chain: grantChain(chain), keys, command })).toMatchObject({ root: 'op-ada' });
      expect(await capstan('grant', 'show', join(dir, 'second.json'))).toMatchObject({
        answer: { grants: [{ depth: 1 }, { depth: 0, verbs: ['agent.spawn'] }] },
      });
    }),
  );

  it('writes none that widens', async () => {
    for (const wide of [
      ['--verb', 'agent.status', '--budget', '1'],
      ['--verb', 'agent.spawn', '--budget', '3'],
      ['--verb', 'agent.spawn', '--on', 'harbor'],
      ['--verb', 'agent.spawn', '--expires', '900000'],
      ['--verb', 'agent.spawn', '--depth', '1'],
    ])
      expect([wide, (await second(...wide)).answer]).toMatchObject([wide, { error: { code: 'grant-widened' } }]);
    expect((await second('--verb', 'agent.rearm')).code).toBe(2);
  });
});
