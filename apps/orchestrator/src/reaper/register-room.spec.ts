import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SigningKey } from '@capstan/identity';
import { isGone } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import { Sandboxes } from '../../../../test/support/sandboxes.js';
import { Reaper, type RegisterAnswer } from './reaper.js';
import type { Order } from './register/record.js';

const WAIT_MS = 15_000;

describe('a register that is flooded', () => {
  let room: string;
  let sandboxes: Sandboxes;
  let reaper: Reaper;
  const open: Reaper[] = [];
  const key = SigningKey.generate();
  let reports: unknown[];
  let orders = 0;

  const openReaper = async (file: string): Promise<Reaper> => {
    const report = (error: unknown) => void reports.push(error);
    const opened = await Reaper.open({ file, instanceId: 'harbor', key, areaBytes: 64 * 1024, report });
    open.push(opened);
    return opened;
  };
  beforeEach(async () => {
    room = mkdtempSync(join(tmpdir(), 'capstan-room-spec-'));
    sandboxes = new Sandboxes();
    reports = [];
    reaper = await openReaper(join(room, 'register'));
  });
  afterEach(async () => {
    for (const each of open.splice(0)) await each.close();
    await sandboxes[Symbol.asyncDispose]();
    rmSync(room, { recursive: true });
  });

  const order = (): Order => ({ issuer: 'hub', id: `order-${String(++orders)}`, digest: 'ab'.repeat(32) });
  const register = (agent: Pick<Awaited<ReturnType<Sandboxes['prepare']>>, 'agentId' | 'handle'>) =>
    reaper.registerAgent({ ...agent, tenant: 'default', admittedUnder: () => 0n }) satisfies Promise<RegisterAnswer>;
  const kill = async (agentId: string): Promise<string> => (await reaper.kill(agentId, order(), WAIT_MS)).outcome;
  const afterACrash = (): Promise<Reaper> => {
    const copy = join(room, `copy-${String(open.length)}`);
    copyFileSync(join(room, 'register'), copy);
    return openReaper(copy);
  };

  it(
    'with kills of agents that never were takes kill-alls, starts and deaths still, and promises nothing that it cannot keep',
    proves('ORC-117', async () => {
      const names = Array.from({ length: 300 }, (_, n) => `never-${String(n)}`);
      const outcomes: string[] = [];
      // At once and one by one: what is on its way to the disk counts as well.
      outcomes.push(...(await Promise.all(names.slice(0, 150).map(kill))));
      for (const name of names.slice(150)) outcomes.push(await kill(name));
      expect(new Set(outcomes)).toEqual(new Set(['tombstoned', 'unconfirmed']));
      expect(reports).toMatchObject([{ code: 'register-full' }]);

      const sandbox = await sandboxes.prepare();
      expect(await register(sandbox)).toEqual({ kind: 'registered' });
      expect(await kill(sandbox.agentId)).toBe('killed');
      expect(isGone(sandbox.handle)).toBe(true);
      const stop = order();
      const told = await reaper.killAll({ scope: 'mesh', id: '' }, 1n, stop, WAIT_MS);
      expect(told).toMatchObject({ kind: 'observed', epoch: 1n });

      const after = await afterACrash();
      expect(after.describe().epochs).toMatchObject([{ scope: { scope: 'mesh' }, epoch: 1n, armed: false }]);
      expect(await after.killAll({ scope: 'mesh', id: '' }, 1n, stop, WAIT_MS)).toEqual(told);
      for (const [n, name] of names.entries()) {
        expect((await after.observe(name, 0))?.outcome).toBe(outcomes[n] === 'tombstoned' ? 'tombstoned' : undefined);
      }
    }),
  );

  it('with orders to kill one that is dead, or never was, answers each truly, and takes kill-alls still', async () => {
    const sandbox = await sandboxes.prepare();
    await register(sandbox);
    expect(await kill(sandbox.agentId)).toBe('killed');
    expect(await kill('never')).toBe('tombstoned');
    for (let time = 0; time < 150; time++) {
      expect(await kill(sandbox.agentId)).toBe('already-gone');
      expect(await kill('never')).toBe('tombstoned');
    }
    expect(await reaper.killAll({ scope: 'mesh', id: '' }, 1n, order(), WAIT_MS)).toMatchObject({ kind: 'observed' });
    const after = await afterACrash();
    expect(after.describe().epochs).toMatchObject([{ epoch: 1n }]);
    expect((await after.kill(sandbox.agentId, order(), WAIT_MS)).outcome).toBe('already-gone');
    expect((await after.observe('never', 0))?.outcome).toBe('tombstoned');
  });
});
