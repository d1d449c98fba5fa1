import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HeldChain } from '@capstan/identity';
import { newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { removeDir, testValkey, until } from '../../test/processes.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { InstanceDir } from '../instance/instance-dir.js';
import { SpokeValkey } from '../valkey/spoke-valkey.js';
import { GrantSpend } from './grant-spend.js';

describe('what is spent under grants', () => {
  let dir: string;
  let server: ReturnType<typeof testValkey>;
  let valkey: SpokeValkey;
  let spend: GrantSpend;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cs-'));
    server = testValkey(dir);
    await server.start();
    valkey = new SpokeValkey(new SpokeConfig(new InstanceDir(dir), server.url, { path: '/nowhere' }));
    spend = new GrantSpend(valkey);
    await until(() => valkey.ask((client) => client.ping()).catch(() => undefined));
  }, 20_000);
  afterAll(async () => {
    await valkey?.onApplicationShutdown();
    await server?.[Symbol.asyncDispose]();
    await removeDir(dir);
  });

  function chain(...budgets: bigint[]): HeldChain {
    const now = Date.now();
    const grants = budgets.map((budgetMicroUsd) => ({
      digest: crypto.getRandomValues(new Uint8Array(32)),
      issuer: 'op-ada',
      subject: 'op-ci',
      budgetMicroUsd,
      issuedAtMs: now,
      expiresAtMs: now + 60_000,
    }));
    return { root: 'op-ada', grants };
  }
  const order = (): { issuer: string; id: string } => ({ issuer: 'op-ci', id: newId() });
  const exceeded = { code: 'grant-exceeded' };

  it(
    'is counted once for an order that comes again, as after a crash before it was recorded',
    proves('FED-14', async () => {
      const held = chain(10n);
      const same = order();
      for (let time = 0; time < 3; time++) await spend.reserve(same, held, 6);
      await spend.reserve(order(), held, 4);
      await expect(spend.reserve(order(), held, 1)).rejects.toMatchObject(exceeded);
    }),
  );

  it(
    'is set aside in every grant of the chain or in none',
    proves('FED-14', async () => {
      const held = chain(100n, 5n);
      await expect(spend.reserve(order(), held, 6)).rejects.toMatchObject(exceeded);
      const root = { ...held, grants: held.grants.slice(0, 1) };
      await spend.reserve(order(), root, 100);
      await expect(spend.reserve(order(), held, 1)).rejects.toMatchObject(exceeded);
    }),
  );

  it('never passes a budget, however many orders come at once', async () => {
    const held = chain(50n, 40n);
    const tries = await Promise.allSettled(Array.from({ length: 30 }, () => spend.reserve(order(), held, 3)));
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(13);
  });

  it('is given back once for an order that was refused', async () => {
    const held = chain(10n);
    const refused = order();
    await spend.reserve(refused, held, 10);
    await spend.release(refused);
    await spend.release(refused);
    await spend.reserve(order(), held, 10);
    await expect(spend.reserve(order(), held, 1)).rejects.toMatchObject(exceeded);
    await expect(spend.release(order())).resolves.toBeUndefined();
  });
});
