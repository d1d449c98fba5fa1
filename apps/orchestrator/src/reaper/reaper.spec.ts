import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KeyRing, openEnvelope, SigningKey } from '@capstan/identity';
import { decodeEnvelope, Direction, ObservationSchema, type Observation } from '@capstan/protocol';
import { isGone, members, signalHandle, type KillHandle } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import { Sandboxes, until } from '../../../../test/support/sandboxes.js';
import type { Verdict } from './kill/deaths.js';
import { thisHost, type World } from './kill/world.js';
import { Reaper } from './reaper.js';
import type { Order } from './register/record.js';

describe('the reaper', () => {
  let room: string;
  let sandboxes: Sandboxes;
  const open: Reaper[] = [];
  const key = SigningKey.generate();
  const keys = new KeyRing([
    { keyId: key.keyId, owner: 'harbor', publicKey: key.publicKey, purposes: ['observe'], epoch: 1 },
  ]);
  let reports: unknown[];
  let orders = 0;

  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'capstan-reaper-spec-'));
    sandboxes = new Sandboxes();
    reports = [];
  });
  afterEach(async () => {
    for (const reaper of open.splice(0)) await reaper.close();
    await sandboxes[Symbol.asyncDispose]();
    rmSync(room, { recursive: true });
  });

  const openReaper = async (world: World = thisHost, file = join(room, 'register')): Promise<Reaper> => {
    const report = (error: unknown) => void reports.push(error);
    const reaper = await Reaper.open({ file, instanceId: 'harbor', key, world, areaBytes: 256 * 1024, report });
    open.push(reaper);
    return reaper;
  };
  const register = (reaper: Reaper, agentId: string, handle: KillHandle) =>
    reaper.registerAgent({ agentId, tenant: 'default', handle, admittedUnder: () => 0n });
  const order = (): Order => ({ issuer: 'hub', id: `order-${String(++orders)}`, digest: 'ab'.repeat(32) });
  const read = (verdict: Verdict): Observation => {
    if (verdict.outcome === 'unconfirmed') throw new Error('nothing was observed');
    const want = {
      kind: 'observation',
      purpose: 'observe',
      keys,
      audience: 'harbor',
      direction: Direction.LOCAL,
    } as const;
    return openEnvelope(decodeEnvelope(verdict.observation), ObservationSchema, { ...want, nowMs: Date.now() }).payload;
  };

  it('has the handle on disk when it says that GO may be given', async () => {
    const reaper = await openReaper();
    const { agentId, handle } = await sandboxes.prepare();
    expect(await register(reaper, agentId, handle)).toEqual({ kind: 'registered' });
    copyFileSync(join(room, 'register'), join(room, 'after-a-crash'));
    const other = await openReaper(thisHost, join(room, 'after-a-crash'));
    expect(other.describe().agents).toMatchObject([{ agentId, handle }]);
  });

  it('registers no handle that does not name a living sandbox', async () => {
    const reaper = await openReaper();
    const sandbox = await sandboxes.prepare();
    await sandbox.abort();
    expect(await register(reaper, sandbox.agentId, sandbox.handle)).toMatchObject({ kind: 'malformed' });
    expect(reaper.describe().agents).toEqual([]);
  });

  it('registers the same handle again, but no other one while the agent lives', async () => {
    const reaper = await openReaper();
    const [first, second] = [await sandboxes.prepare(), await sandboxes.prepare()];
    expect(await register(reaper, first.agentId, first.handle)).toEqual({ kind: 'registered' });
    expect(await register(reaper, first.agentId, first.handle)).toEqual({ kind: 'registered' });
    expect(await register(reaper, first.agentId, second.handle)).toMatchObject({ kind: 'malformed' });
    await first.abort();
    await reaper.observe(first.agentId, 5000);
    // Nobody ordered its death: before GO an attempt may be repeated.
    expect(await register(reaper, first.agentId, second.handle)).toEqual({ kind: 'registered' });
  });

  it(
    'refuses the GO of an agent that is killed while it is being registered',
    proves('ORC-117', async () => {
      const reaper = await openReaper();
      const { agentId, handle } = await sandboxes.prepare();
      const registering = register(reaper, agentId, handle);
      await new Promise((resolve) => setImmediate(resolve));
      const killed = reaper.kill(agentId, order(), 5000);
      expect(await registering).toEqual({ kind: 'forbidden', code: 'tombstoned' });
      expect((await killed).outcome).toBe('killed');
      expect(isGone(handle)).toBe(true);
    }),
  );

  it(
    'says killed only when it looked and nothing was left, however often it signalled',
    proves('ORC-117', async () => {
      // The processes are real; the signals are held back, as those to a process that is stuck in the kernel are.
      let deaf = true;
      let signals = 0;
      const world: World = {
        ...thisHost,
        signal: async (handle) => (signals++, deaf ? undefined : signalHandle(handle)),
      };
      const reaper = await openReaper(world);
      const sandbox = await sandboxes.prepare();
      await register(reaper, sandbox.agentId, sandbox.handle);
      await sandbox.go();
      await until(() => sandboxes.hasRun);
      const command = order();
      expect(await reaper.kill(sandbox.agentId, command, 250)).toEqual({ outcome: 'unconfirmed' });
      expect(signals).toBeGreaterThan(1);
      expect(members(sandbox.handle).length).toBeGreaterThan(2);
      deaf = false;
      const verdict = await reaper.kill(sandbox.agentId, command, 5000);
      expect(verdict.outcome).toBe('killed');
      expect(members(sandbox.handle)).toEqual([]);
      expect(read(verdict)).toMatchObject({ agentId: sandbox.agentId, cgroup: sandbox.handle.cgroup });
    }),
  );

  it('takes an error for no observation', async () => {
    let broken = true;
    const world: World = {
      ...thisHost,
      isGone: (handle) => {
        if (broken) throw Object.assign(new Error('too many open files'), { code: 'EMFILE' });
        return isGone(handle);
      },
    };
    const reaper = await openReaper(world);
    const sandbox = await sandboxes.prepare();
    await register(reaper, sandbox.agentId, sandbox.handle);
    expect(await reaper.kill(sandbox.agentId, null, 50)).toEqual({ outcome: 'unconfirmed' });
    expect(reports).not.toEqual([]);
    broken = false;
    expect((await reaper.kill(sandbox.agentId, null, 5000)).outcome).toBe('killed');
  });

  it('goes on after a restart with a kill that it could not confirm', async () => {
    const deaf: World = { ...thisHost, signal: async () => undefined };
    const before = await openReaper(deaf);
    const sandbox = await sandboxes.prepare();
    await register(before, sandbox.agentId, sandbox.handle);
    const command = order();
    expect(await before.kill(sandbox.agentId, command, 20)).toEqual({ outcome: 'unconfirmed' });
    await before.close();
    const after = await openReaper();
    await until(() => isGone(sandbox.handle));
    expect(read(await after.kill(sandbox.agentId, command, 5000))).toMatchObject({ outcome: 1 });
  });

  it('answers each of several orders that kill one agent with an observation of its own', async () => {
    const reaper = await openReaper();
    const sandbox = await sandboxes.prepare();
    await register(reaper, sandbox.agentId, sandbox.handle);
    const digests = ['01'.repeat(32), '02'.repeat(32)];
    const verdicts = await Promise.all(
      digests.map((digest, index) =>
        reaper.kill(sandbox.agentId, { issuer: 'hub', id: `both-${String(index)}`, digest }, 5000),
      ),
    );
    expect(verdicts.map(({ outcome }) => outcome)).toEqual(['killed', 'killed']);
    expect(verdicts.map((verdict) => Buffer.from(read(verdict).commandDigest).toString('hex'))).toEqual(digests);
  });

  it('calls agents of an earlier boot gone', async () => {
    const reaper = await openReaper();
    const sandbox = await sandboxes.prepare();
    await register(reaper, sandbox.agentId, sandbox.handle);
    await reaper.close();
    const rebooted: World = { ...thisHost, isGone: (handle) => isGone({ ...handle, bootId: 'an earlier boot' }) };
    expect((await (await openReaper(rebooted)).kill(sandbox.agentId, order(), 5000)).outcome).toBe('already-gone');
  });
});
