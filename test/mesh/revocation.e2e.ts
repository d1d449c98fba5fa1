import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Mesh } from '@capstan/localmesh';
import { agentIn, spawnAgent } from '../support/agents.js';
import { livingIn, placeOf } from '../support/host-processes.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(300_000);

const run = promisify(execFile);
const CLI = join(process.cwd(), 'dist/apps/cli/src/main.js');

describe('a connection, from the command line', () => {
  const repository = new TestRepository();
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['harbor', 'quay'], repository: repository.path });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  /** Runs `capstan … --json` and returns its exit code and its one object. */
  async function capstan(...args: string[]): Promise<{ code: number; answer: Record<string, unknown> }> {
    const env = { ...process.env, CAPSTAN_CONTEXT: mesh.contextFile };
    try {
      const { stdout } = await run(process.execPath, [CLI, ...args, '--json'], { env });
      return { code: 0, answer: JSON.parse(stdout) as Record<string, unknown> };
    } catch (error) {
      const { code, stdout } = error as { code: number; stdout: string };
      return { code, answer: JSON.parse(stdout) as Record<string, unknown> };
    }
  }

  const connectionOf = async (instance: string) =>
    (await mesh.client.connections()).find(({ instanceId }) => instanceId === instance);

  it(
    'is suspended and resumed by the admin, and by the owner beside his spoke',
    proves('FED-03', async () => {
      const local = ['--local', mesh.instance('quay').dir];
      expect(await capstan('spoke', 'suspend', 'quay', '--reason', 'a look')).toMatchObject({
        code: 0,
        answer: { connection: { state: 'SUSPENDED', suspendedBy: ['admin'] } },
      });
      expect(await capstan('spoke', 'suspend', ...local)).toMatchObject({
        code: 0,
        answer: { connection: { wish: 'SUSPENDED', answer: { is: 'taken' } } },
      });
      expect(await capstan('spoke', 'resume', 'quay')).toMatchObject({
        code: 0,
        answer: { connection: { state: 'SUSPENDED', suspendedBy: ['owner'] } },
      });
      expect(await capstan('spoke', 'resume', 'quay')).toMatchObject({
        code: 5,
        answer: { error: { code: 'connection-transition' } },
      });
      expect((await capstan('spoke', 'resume', ...local)).code).toBe(0);
      expect(await connectionOf('quay')).toMatchObject({ state: 'ACTIVE', suspendedBy: [], online: true });
      expect((await capstan('spoke', 'suspend')).code).toBe(2);
      expect((await capstan('spoke', 'suspend', 'nobody')).code).toBe(3);
      expect((await capstan('spoke', 'suspend', '--local', '/nowhere')).code).toBe(8);
    }),
  );

  it(
    'that is revoked is cut without waiting for a heartbeat, and its agents die by the reaper beside them, audited',
    proves('FED-12', async () => {
      const harbor = mesh.instance('harbor');
      const { agentId } = await spawnAgent(mesh, 'harbor', { playbook: 'long-run' });
      await agentIn(mesh, agentId, 'running');
      const place = await until('it is registered', () => placeOf(harbor, agentId));
      expect(livingIn(place)).not.toEqual([]);
      const { id } = (await connectionOf('harbor')) ?? { id: '' };
      const orderedAt = performance.now();
      expect(await mesh.client.moveConnection(id, 'revoke', { reason: 'stolen' })).toMatchObject({ state: 'REVOKED' });
      await until('the link is cut', async () => (await connectionOf('harbor'))?.online === false);
      expect(performance.now() - orderedAt).toBeLessThan(4_000);
      await until('nothing of the agent is left', () => livingIn(place).length === 0);
      expect(performance.now() - orderedAt).toBeLessThan(8_000);
      await until('it is done', () => existsSync(join(harbor.dir, 'revoked')));
      const audit = readFileSync(join(harbor.dir, 'audit', 'spoke.log'), 'utf8');
      for (const part of ['instance.revoked', 'instance.revoked-kill', agentId]) expect(audit).toContain(part);
      expect(await capstan('spoke', 'resume', 'harbor')).toMatchObject({ code: 5 });
    }),
  );
});
