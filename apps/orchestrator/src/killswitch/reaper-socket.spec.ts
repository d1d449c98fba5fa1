import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type VerifiedKillAll, verifyKillAll, verifyProbe } from '@capstan/evidence';
import { keyRecord, KeyRing, openEnvelope, SigningKey } from '@capstan/identity';
import { type KillAllResult, ReaperClient } from '@capstan/platform';
import {
  create,
  decodeEnvelope,
  Direction,
  KillAllResultSchema,
  ObservationSchema,
  ProbeResultSchema,
  toHex,
} from '@capstan/protocol';
import { bootId, type KillHandle } from '@capstan/sandbox';
import { proves } from '../../../../test/support/proves.js';
import type { World } from '../reaper/kill/world.js';
import { Reaper } from '../reaper/reaper.js';
import { ReaperServer } from '../reaper/server/server.js';

/** Names as long as some hosts have them: sixty observations of these are more than one reply holds. */
const LONG_CGROUP = `/sys/fs/cgroup/${'capstan-'.repeat(100)}`;
const MOST_AGENTS = 64;

/** A host whose agents are gone once they were signalled. */
class PlayedWorld implements World {
  readonly dead = new Set<number>();
  handleFault = () => null;
  isGone = (handle: KillHandle) => this.dead.has(handle.processes[0]?.pid ?? 0);
  countMembers = () => 2;
  signal = (handle: KillHandle) => {
    this.dead.add(handle.processes[0]?.pid ?? 0);
    return Promise.resolve();
  };
}

describe('the reaper at its socket', () => {
  const key = SigningKey.generate();
  const keys = new KeyRing([keyRecord('harbor', key.publicKey, ['observe'])]);
  const nonce = new Uint8Array(32).fill(7);
  const commandDigest = new Uint8Array(32).fill(9);
  const command = { issuer: 'hub', id: '0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3', digest: commandDigest };
  let room: string;
  let reaper: Reaper;
  let server: ReaperServer;
  let client: ReaperClient;

  beforeEach(async () => {
    room = mkdtempSync(join(tmpdir(), 'capstan-reaper-socket-'));
    const report = (error: unknown) => {
      throw error;
    };
    const world = new PlayedWorld();
    reaper = await Reaper.open({ file: join(room, 'register'), instanceId: 'harbor', key, world, report });
    server = new ReaperServer(reaper, report);
    await server.listen(join(room, 'reaper.sock'));
    client = new ReaperClient(join(room, 'reaper.sock'));
  });
  afterEach(async () => {
    client.close();
    await server.close();
    await reaper.close();
    rmSync(room, { recursive: true });
  });

  const register = async (agentId: string, pid: number): Promise<void> => {
    const processes = [{ pid, startTicks: 1n }];
    const handle = { driver: 'bubblewrap', bootId: bootId(), processes, pidNamespace: 1n, cgroup: LONG_CGROUP };
    expect(await client.register({ agentId, tenant: 'default', handle, killEpochs: [] })).toEqual({ ok: true });
  };

  /** What the answer's statement says, verified. */
  const stated = (answer: KillAllResult): VerifiedKillAll | undefined => {
    if (!answer.ok) throw new Error(answer.code);
    const agents = answer.agents.map(({ agentId }) => ({ agentId }));
    const result = create(KillAllResultSchema, { epoch: answer.epoch, agents, statement: answer.statement });
    return verifyKillAll({ instance: 'harbor', commandDigest, result }, keys);
  };

  it(
    'answers a probe with its own signature over nonce and command, and kills nobody',
    proves('FED-22', async () => {
      await register('agent-1', 1001);
      const answer = await client.probe({ nonce, commandDigest });
      const claim = { instance: 'harbor', commandDigest, result: create(ProbeResultSchema, { answer }) };
      expect(verifyProbe(claim, keys, nonce)).toMatchObject({ nonce, bootId: bootId(), livingAgents: 1 });
      expect(reaper.describe().agents.map(({ agentId }) => agentId)).toEqual(['agent-1']);
      const other = new Uint8Array(32).fill(8);
      const invalid = expect.objectContaining({ code: 'observation-invalid' });
      expect(() => verifyProbe(claim, keys, other)).toThrow(invalid);
      expect(() => verifyProbe({ ...claim, commandDigest: other }, keys, nonce)).toThrow(invalid);
      expect(() => verifyProbe({ ...claim, instance: 'quay' }, keys, nonce)).toThrow(invalid);
    }),
  );

  it('takes a probe for no death, and a death for no probe', async () => {
    const answer = await client.probe({ nonce, commandDigest });
    const want = { kind: 'observation', purpose: 'observe', keys, audience: 'harbor' } as const;
    const open = (bytes: Uint8Array) =>
      openEnvelope(decodeEnvelope(bytes), ObservationSchema, {
        ...want,
        direction: Direction.LOCAL,
        nowMs: Date.now(),
      });
    expect(() => open(answer)).toThrow(expect.objectContaining({ code: 'payload-type-unknown' }));
    const { observation } = await client.kill({ agentId: 'agent-1', command, timeoutMs: 1000 });
    const claim = { instance: 'harbor', commandDigest, result: create(ProbeResultSchema, { answer: observation }) };
    expect(() => verifyProbe(claim, keys, nonce)).toThrow(expect.objectContaining({ code: 'observation-invalid' }));
  });

  it('refuses a nonce or a digest that is none', async () => {
    const malformed = expect.objectContaining({ code: 'reaper-malformed' }) as unknown;
    await expect(client.probe({ nonce: new Uint8Array(31), commandDigest })).rejects.toEqual(malformed);
    await expect(client.probe({ nonce, commandDigest: new Uint8Array() })).rejects.toEqual(malformed);
  });

  it(
    'names every agent of a kill-all, also where one reply cannot hold what was observed of them',
    proves('FED-10', async () => {
      for (let n = 0; n < MOST_AGENTS; n++) await register(`agent-${String(n)}`, 1001 + n);
      const killed = await client.killAll({ scope: 'mesh', epoch: 1n, command, timeoutMs: 5000 });
      if (!killed.ok) throw new Error(killed.code);
      expect(killed.agents).toHaveLength(MOST_AGENTS);
      const unnamed = killed.agents.filter(({ outcome }) => outcome === 'unconfirmed');
      expect(unnamed.length).toBeGreaterThan(0);
      for (const { agentId } of unnamed) {
        const { outcome, observation } = await client.kill({ agentId, command, timeoutMs: 5000 });
        expect(outcome).toBe('killed');
        expect(observation.length).toBeGreaterThan(0);
      }
    }),
  );

  it(
    'states which agents a kill-all covers, once and for all, for this order and no other',
    proves('FED-10', async () => {
      for (const [n, agentId] of ['agent-1', 'agent-2'].entries()) await register(agentId, 1001 + n);
      const scope = { scope: 'tenant', scopeId: 'default' } as const;
      const first = await client.killAll({ ...scope, epoch: 1n, command, timeoutMs: 5000 });
      expect(stated(first)).toMatchObject({
        scope: 'tenant',
        scopeId: 'default',
        epoch: 1n,
        agents: ['agent-1', 'agent-2'],
        bootId: bootId(),
      });
      // Whoever repeats the id with another order's digest, or for another scope, is told of the first one.
      const other = { ...command, digest: new Uint8Array(32).fill(8) };
      const mesh = { scope: 'mesh' } as const;
      for (const again of [
        await client.killAll({ ...scope, epoch: 1n, command, timeoutMs: 5000 }),
        await client.killAll({ ...mesh, epoch: 1n, command: other, timeoutMs: 5000 }),
      ])
        expect(again).toEqual(first);
      expect((await client.describe()).killEpochs).toHaveLength(1);
    }),
  );

  it('states that an instance without agents has none, and says nothing for the owner’s own order', async () => {
    const empty = await client.killAll({ scope: 'instance', epoch: 1n, command, timeoutMs: 5000 });
    expect(stated(empty)).toMatchObject({ scope: 'instance', scopeId: '', epoch: 1n, agents: [] });
    const own = await client.killAll({ scope: 'instance', epoch: 2n, timeoutMs: 5000 });
    expect(own).toEqual({ ok: true, epoch: 2n, agents: [], statement: new Uint8Array() });
  });

  it('says after a restart of a kill-all what it has said before', async () => {
    await register('agent-1', 1001);
    const first = await client.killAll({ scope: 'mesh', epoch: 1n, command, timeoutMs: 5000 });
    await reaper.close();
    const again = await Reaper.open({
      file: join(room, 'register'),
      instanceId: 'harbor',
      key: SigningKey.generate(),
      report: () => undefined,
    });
    const order = { ...command, digest: toHex(command.digest) };
    const answer = await again.killAll({ scope: 'mesh', id: '' }, 1n, order, 1000);
    if (answer.kind !== 'observed' || !first.ok) throw new Error('a repeated order was refused');
    expect(Buffer.from(answer.statement).equals(first.statement)).toBe(true);
    await again.close();
  });

  it(
    're-arms by command only what a command has disarmed, and only at its present epoch',
    proves('FED-10', async () => {
      const scope = { scope: 'instance' } as const;
      expect(await client.rearm({ ...scope, epoch: 0n, command })).toEqual({ ok: false, code: 'kill-epoch' });
      await client.killAll({ ...scope, epoch: 1n, command, timeoutMs: 1000 });
      expect(await client.rearm({ ...scope, epoch: 2n, command })).toEqual({ ok: false, code: 'kill-epoch' });
      expect(await client.rearm({ ...scope, epoch: 1n, command })).toEqual({ ok: true, epoch: 1n });
      await client.killAll({ ...scope, epoch: 2n, timeoutMs: 1000 });
      expect(await client.rearm({ ...scope, epoch: 2n, command })).toEqual({ ok: false, code: 'disarmed' });
      expect((await client.describe()).disarmed).toMatchObject([{ scope: 'instance', epoch: 2n }]);
      // A later kill-all by command does not make it the command's to re-arm.
      const later = { ...command, id: '0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b4' };
      await client.killAll({ ...scope, epoch: 3n, command: later, timeoutMs: 1000 });
      expect(await client.rearm({ ...scope, epoch: 3n, command })).toEqual({ ok: false, code: 'disarmed' });
      expect(await client.rearm(scope)).toEqual({ ok: true, epoch: 3n });
      expect((await client.describe()).disarmed).toEqual([]);
    }),
  );
});
