import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { KeyRing, keyIdOf, openEnvelope } from '@capstan/identity';
import {
  create,
  decodeEnvelope,
  Direction,
  newId,
  ObservationSchema,
  RegisterSchema,
  type Observation,
} from '@capstan/protocol';
import { isGone, members, type KillHandle, type PreparedSandbox } from '@capstan/sandbox';
import { proves } from '../support/proves.js';
import { ReaperProcess } from '../support/reaper-process.js';
import { Sandboxes, until } from '../support/sandboxes.js';

const NOBODY = { scope: 'instance' } as const;

function order(): { issuer: string; id: string; digest: Uint8Array } {
  return { issuer: 'hub', id: newId(), digest: crypto.getRandomValues(new Uint8Array(32)) };
}

function registration(sandbox: PreparedSandbox & { agentId: string }, tenant = 'default') {
  return create(RegisterSchema, { agentId: sandbox.agentId, tenant, handle: sandbox.handle });
}

/** Verified with the reaper's own public key, for the instance's audience. */
async function read(reaper: ReaperProcess, observation: Uint8Array): Promise<Observation> {
  const { publicKey } = await reaper.client.describe();
  const keys = new KeyRing([
    { keyId: keyIdOf(publicKey), owner: 'harbor', publicKey, purposes: ['observe'], epoch: 1 },
  ]);
  const want = {
    kind: 'observation',
    purpose: 'observe',
    keys,
    audience: 'harbor',
    direction: Direction.LOCAL,
    nowMs: Date.now(),
  } as const;
  return openEnvelope(decodeEnvelope(observation), ObservationSchema, want).payload;
}

describe('the reaper process', () => {
  let reaper: ReaperProcess;
  let sandboxes: Sandboxes;

  beforeEach(async () => {
    sandboxes = new Sandboxes();
    reaper = await ReaperProcess.started();
  });
  afterEach(async () => {
    await reaper[Symbol.asyncDispose]();
    await sandboxes[Symbol.asyncDispose]();
  });

  const running = async (): Promise<PreparedSandbox & { agentId: string }> => {
    const sandbox = await sandboxes.prepare();
    expect(await reaper.client.register(registration(sandbox))).toEqual({ ok: true });
    await sandbox.go();
    await until(() => sandboxes.hasRun);
    return sandbox;
  };

  it(
    'kills what ignores SIGTERM, forked twice and left its session, and signs what it saw',
    proves(['ORC-L2', 'ORC-117'], async () => {
      const { agentId, handle } = await running();
      const before = members(handle).length;
      const command = order();
      const answer = await reaper.client.kill({ agentId, command, timeoutMs: 5000 });
      expect(answer.outcome).toBe('killed');
      expect(members(handle)).toEqual([]);
      const seen = await read(reaper, answer.observation);
      expect(seen).toMatchObject({
        agentId,
        bootId: handle.bootId,
        pidNamespace: handle.pidNamespace,
        cgroup: handle.cgroup,
      });
      // It forks on while it is looked at.
      expect(seen.membersBefore).toBeGreaterThanOrEqual(before);
      expect(seen.processes.map(({ pid }) => pid)).toEqual(handle.processes.map(({ pid }) => pid));
      expect(Buffer.from(seen.commandDigest)).toEqual(Buffer.from(command.digest));
      expect(seen.orderedAtMs).toBeLessThanOrEqual(seen.signalledAtMs);
      expect(seen.signalledAtMs).toBeLessThanOrEqual(seen.observedAtMs);
    }),
  );

  it(
    'gives a repeated kill the observation that it gave before, after a kill -9 of its own too',
    proves('ORC-117', async () => {
      const { agentId } = await running();
      const command = order();
      const first = await reaper.client.kill({ agentId, command, timeoutMs: 5000 });
      expect(await reaper.client.kill({ agentId, command, timeoutMs: 5000 })).toEqual(first);
      await reaper.stop('SIGKILL');
      await reaper.start();
      expect(await reaper.client.kill({ agentId, command, timeoutMs: 5000 })).toEqual(first);
      const other = await reaper.client.kill({ agentId, command: order(), timeoutMs: 5000 });
      expect(other.outcome).toBe('already-gone');
    }),
  );

  it(
    'kills agents that were registered before it was killed itself',
    proves('ORC-L2', async () => {
      const { agentId, handle } = await running();
      await reaper.stop('SIGKILL');
      expect(isGone(handle)).toBe(false);
      await reaper.start();
      expect((await reaper.client.describe()).agents.map((agent) => agent.agentId)).toEqual([agentId]);
      expect((await reaper.client.kill({ agentId, timeoutMs: 5000 })).outcome).toBe('killed');
      expect(isGone(handle)).toBe(true);
    }),
  );

  it(
    'never says killed, nor anything signed, while a process lives; it goes on and says so later',
    proves('ORC-117', async () => {
      const sandbox = await running();
      const command = order();
      const impatient = await reaper.client.kill({ agentId: sandbox.agentId, command, timeoutMs: 1 });
      if (impatient.outcome === 'unconfirmed') expect(impatient.observation).toHaveLength(0);
      else expect(members(sandbox.handle)).toEqual([]);
      const patient = await reaper.client.kill({ agentId: sandbox.agentId, command, timeoutMs: 5000 });
      expect(patient.outcome).toBe('killed');
      expect(members(sandbox.handle)).toEqual([]);
    }),
  );

  it(
    'gives no receipt and starts nothing when the launcher dies between creation and GO',
    proves('ORC-117', async () => {
      const sandbox = await sandboxes.prepare();
      process.kill(sandbox.handle.processes[0]?.pid ?? NaN, 'SIGKILL');
      await sandbox.exited;
      await until(() => isGone(sandbox.handle));
      await expect(reaper.client.register(registration(sandbox))).rejects.toMatchObject({ code: 'reaper-malformed' });
      expect(sandboxes.hasRun).toBe(false);
      expect((await reaper.client.describe()).agents).toEqual([]);
    }),
  );

  it('observes an end that nobody ordered, and calls a later kill already-gone', async () => {
    const sandbox = await sandboxes.prepare({ argv: ['/bin/true'] });
    await reaper.client.register(registration(sandbox));
    expect(await reaper.client.observe(sandbox.agentId, 20)).toMatchObject({ outcome: 'unconfirmed' });
    await sandbox.go();
    const seen = await reaper.client.observe(sandbox.agentId, 5000);
    expect(seen.outcome).toBe('already-gone');
    expect(await read(reaper, seen.observation)).toMatchObject({ signalledAtMs: 0n });
    const command = order();
    const late = await reaper.client.kill({ agentId: sandbox.agentId, command, timeoutMs: 5000 });
    expect(late.outcome).toBe('already-gone');
    expect(Buffer.from((await read(reaper, late.observation)).commandDigest)).toEqual(Buffer.from(command.digest));
    await expect(reaper.client.observe('never-seen', 10)).rejects.toMatchObject({ code: 'reaper-malformed' });
  });

  it(
    'forbids for ever the start of an agent that was killed before it was seen',
    proves('ORC-117', async () => {
      const sandbox = await sandboxes.prepare();
      const answer = await reaper.client.kill({ agentId: sandbox.agentId, command: order(), timeoutMs: 5000 });
      expect(answer.outcome).toBe('tombstoned');
      expect(await read(reaper, answer.observation)).toMatchObject({ processes: [], pidNamespace: 0n });
      expect(await reaper.client.register(registration(sandbox))).toEqual({ ok: false, code: 'tombstoned' });
      await reaper.stop('SIGKILL');
      await reaper.start();
      expect(await reaper.client.register(registration(sandbox))).toEqual({ ok: false, code: 'tombstoned' });
      await sandbox.abort();
      expect(sandboxes.hasRun).toBe(false);
    }),
  );

  it(
    'kills all, takes only the next epoch, and refuses what was admitted before or while disarmed',
    proves(['ORC-L2', 'ORC-117'], async () => {
      const sandbox = await running();
      const queued = await sandboxes.prepare();
      expect(await reaper.client.killAll({ ...NOBODY, epoch: 2n, timeoutMs: 5000 })).toEqual({
        ok: false,
        code: 'kill-epoch',
      });
      const command = order();
      const answer = await reaper.client.killAll({ ...NOBODY, epoch: 1n, command, timeoutMs: 5000 });
      expect(answer).toMatchObject({ ok: true, epoch: 1n, agents: [{ agentId: sandbox.agentId, outcome: 'killed' }] });
      expect(isGone(sandbox.handle)).toBe(true);
      expect(await reaper.client.killAll({ ...NOBODY, epoch: 1n, command, timeoutMs: 5000 })).toEqual(answer);
      expect(await reaper.client.killAll({ ...NOBODY, epoch: 1n, command: order(), timeoutMs: 5000 })).toMatchObject({
        ok: false,
      });

      expect(await reaper.client.register(registration(queued))).toEqual({ ok: false, code: 'kill-epoch' });
      const admitted = { ...registration(queued), killEpochs: (await reaper.client.describe()).killEpochs };
      expect(await reaper.client.register(admitted)).toEqual({ ok: false, code: 'disarmed' });
      await reaper.stop('SIGKILL');
      await reaper.start();
      expect(await reaper.client.register(admitted)).toEqual({ ok: false, code: 'disarmed' });
      await reaper.client.rearm(NOBODY);
      expect(await reaper.client.register(registration(queued))).toEqual({ ok: false, code: 'kill-epoch' });
      expect(await reaper.client.register(admitted)).toEqual({ ok: true });
    }),
  );

  it(
    'answers kills while orchestrator and launcher stand still',
    proves('ORC-L2', async () => {
      const { agentId, handle } = await running();
      const launcher = handle.processes[0]?.pid ?? NaN;
      process.kill(launcher, 'SIGSTOP');
      expect((await reaper.client.kill({ agentId, command: order(), timeoutMs: 5000 })).outcome).toBe('killed');
      expect(isGone(handle)).toBe(true);
    }),
  );

  it('refuses handles that are not an agent’s, so that nobody can have other processes killed', async () => {
    const victim = await sandboxes.prepare();
    const forged = (changes: Partial<KillHandle>) =>
      reaper.client.register(
        create(RegisterSchema, { agentId: newId(), tenant: 'default', handle: { ...victim.handle, ...changes } }),
      );
    const self = { pid: process.pid, startTicks: 1n };
    for (const changes of [
      { processes: [self, self] },
      { processes: [] },
      { pidNamespace: victim.handle.pidNamespace + 1n },
      { cgroup: '/sys/fs/cgroup' },
      { bootId: 'another' },
    ]) {
      await expect(forged(changes)).rejects.toMatchObject({ code: 'reaper-malformed' });
    }
    await expect(reaper.client.kill({ agentId: '../..', timeoutMs: 10 })).rejects.toMatchObject({
      code: 'reaper-malformed',
    });
    expect(isGone(victim.handle)).toBe(false);
  });

  it('is one of a kind: a second one refuses to start, and the first goes on', async () => {
    const first = reaper.pid;
    expect(await reaper.start()).toBe('reaper-fault');
    expect(reaper.log.at(-1)?.['message']).toContain('reaper-running');
    expect(reaper.pid).toBe(first);
    await reaper.client.describe();
  });

  it('starts again after a kill -9 that left its socket behind, and for its owner only', async () => {
    const socket = join(reaper.directory, 'run', 'reaper.sock');
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(statSync(join(reaper.directory, 'reaper.key')).mode & 0o777).toBe(0o600);
    await reaper.stop('SIGKILL');
    expect(existsSync(socket)).toBe(true);
    expect(await reaper.start()).toBe('reaper-ready');
    expect((await reaper.client.describe()).agents).toEqual([]);
  });

  it('lives through connections that send what it cannot read', async () => {
    for (const bytes of [
      [0xff, 0xff, 0xff, 0xff],
      [0, 0, 0, 2, 0xff, 0xff],
      [0, 0, 0, 4, 0x9a, 0x06, 1, 1],
    ]) {
      const socket = connect(join(reaper.directory, 'run', 'reaper.sock'));
      socket.on('error', () => undefined);
      socket.write(Buffer.from(bytes));
      await once(socket, 'close');
    }
    await reaper.client.describe();
  });

  it('tells callers at once when it is lost, and is found again when it is back', async () => {
    const { agentId } = await running();
    const waiting = reaper.client.observe(agentId, 60_000);
    await until(() => true);
    const lost = expect(waiting).rejects.toMatchObject({ code: 'reaper-unavailable' });
    await reaper.client.describe();
    await reaper.stop('SIGKILL');
    await lost;
    const later = reaper.client.describe();
    await reaper.start();
    expect((await later).agents).toHaveLength(1);
  });

  it('refuses to start on a damaged register, and says what to do', async () => {
    await reaper.stop();
    writeFileSync(join(reaper.directory, 'reaper', 'register'), 'not a register');
    expect(await reaper.start()).toBe('reaper-fault');
    expect(reaper.log.at(-1)?.['message']).toContain('register-damaged');
  });

  it('is small', () => {
    const rssKiB = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${String(reaper.pid)}/status`, 'utf8'))?.[1]);
    expect(rssKiB).toBeLessThan(120 * 1024);
  });
});
