import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HubProblem, Mesh } from '@capstan/localmesh';
import { agentIn, commandIn, spawnAgent } from '../support/agents.js';
import { capstanJson } from '../support/cli.js';
import { livingIn, placeOf } from '../support/host-processes.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(300_000);

const INSTANCES = ['harbor', 'quay', 'wharf'];

interface CliLine {
  instance: string;
  confirmed: boolean;
  commandId: string;
  reason?: string;
  leasesEndAt?: string;
  agents: { agentId: string; outcome: string }[];
}

describe('a kill of the whole mesh', () => {
  const repository = new TestRepository();
  const files = mkdtempSync(join(tmpdir(), 'capstan-kill-all-'));
  const [aliceToken, bobToken] = [join(files, 'alice.token'), join(files, 'bob.token')];
  let mesh: Mesh;

  beforeAll(async () => {
    const env = { CAPSTAN_HUB_PROBE_EVERY_MS: '2000' };
    mesh = await Mesh.start({ instances: INSTANCES, repository: repository.path, env });
    for (const [name, file] of [
      ['alice', aliceToken],
      ['bob', bobToken],
    ] as const) {
      const { token } = await mesh.client.makeToken(name);
      writeFileSync(file, `${token}\n`, { mode: 0o600 });
    }
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
    rmSync(files, { recursive: true, force: true });
  });

  /** Runs `capstan … --json` and returns its exit code and its one object. */
  const capstan = <T = Record<string, unknown>>(...args: string[]) =>
    capstanJson<T>(args, { CAPSTAN_CONTEXT: mesh.contextFile });

  const running = async (instance: string): Promise<string> => {
    const { agentId } = await spawnAgent(mesh, instance, { playbook: 'long-run' });
    await agentIn(mesh, agentId, 'running');
    return agentId;
  };
  const codeOfSpawn = (instance: string): Promise<string> =>
    spawnAgent(mesh, instance, { playbook: 'long-run' }).then(
      () => 'spawned',
      (error: unknown) => (error instanceof HubProblem ? error.code : String(error)),
    );

  it(
    'ends every agent on every instance by one order, lets none start until another admin says so, then does',
    proves(['FED-10', 'FED-05'], async () => {
      const homes = ['harbor', 'harbor', 'quay', 'wharf'];
      const agents = await Promise.all(homes.map(async (home) => ({ home, agentId: await running(home) })));
      const places = await Promise.all(agents.map(({ home, agentId }) => placeOf(mesh.instance(home), agentId)));
      expect(places.every((place) => place !== undefined && livingIn(place).length > 0)).toBe(true);

      const { code, answer } = await capstan<{ instances: CliLine[]; totals: object }>(
        ...['agents', 'kill-all', '--mesh', '--reason', 'a test', '--token-file', bobToken],
      );
      expect(places.flatMap((place) => (place === undefined ? [] : livingIn(place)))).toEqual([]);
      expect({ code, answer }).toMatchObject({
        code: 0,
        answer: { confirmed: true, totals: { instances: 3, confirmed: 3, agents: { killed: 4 } } },
      });
      for (const { home, agentId } of agents) {
        const line = answer.instances.find(({ instance }) => instance === home);
        expect(line?.agents).toContainEqual({ agentId, outcome: 'killed' });
        await agentIn(mesh, agentId, 'killed');
      }

      for (const instance of INSTANCES) expect(await codeOfSpawn(instance)).toBe('disarmed');
      for (const samePerson of [[], ['--token-file', bobToken]]) {
        expect(await capstan('agents', 'rearm', '--mesh', ...samePerson)).toMatchObject({
          code: 4,
          answer: { error: { code: 'rearm-same-person' } },
        });
      }
      expect(await capstan('agents', 'rearm', '--mesh', '--token-file', aliceToken)).toMatchObject({
        code: 0,
        answer: { rearmed: true },
      });
      const again = await running('quay');
      expect(await mesh.client.kill(again)).toMatchObject({ confirmed: true });
    }),
  );

  it(
    'is proven to get through before it is needed, and seen where it would not',
    proves('FED-22', async () => {
      expect(await capstan('kill', '--probe')).toMatchObject({ code: 0, answer: { proven: true } });
      await until('every instance is shown as stoppable', async () =>
        (await mesh.client.connections()).every(({ stoppable }) => stoppable.proven),
      );
      const { reaper } = mesh.instance('wharf');
      reaper.kill('SIGSTOP');
      let ordered: CliLine | undefined;
      try {
        expect((await capstan('kill', '--probe', '--on', 'wharf')).code).toBe(7);
        await until('wharf is shown as not stoppable', async () => {
          const connections = await mesh.client.connections();
          return connections.find(({ instanceId }) => instanceId === 'wharf')?.stoppable.proven === false;
        });
        const { code, answer } = await capstan<{ instances: CliLine[] }>(
          ...['agents', 'kill-all', '--instance', 'wharf', '--token-file', bobToken],
        );
        expect(code).toBe(7);
        [ordered] = answer.instances;
        expect(ordered).toMatchObject({
          confirmed: false,
          reason: 'unanswered',
          leasesEndAt: expect.any(String) as string,
        });
      } finally {
        reaper.kill('SIGCONT');
      }
      // The order is pursued although nobody waits for it any more.
      const command = await commandIn(mesh, ordered?.commandId ?? '', 'DELIVERED');
      await until('it is confirmed', async () => (await mesh.client.command(command.id)).settledAt !== null);
    }),
  );

  it(
    'leaves the owner his own word: he re-arms by himself, with the hub none the wiser',
    proves('FED-10', async () => {
      expect(await codeOfSpawn('wharf')).toBe('disarmed');
      const { dir } = mesh.instance('wharf');
      expect(await capstan('agents', 'rearm', '--local', dir)).toMatchObject({ code: 0, answer: { rearmed: true } });
      expect(await codeOfSpawn('wharf')).toBe('disarmed');
      const bySecond = await capstan('agents', 'rearm', '--instance', 'wharf', '--token-file', aliceToken);
      expect(bySecond).toMatchObject({ code: 0, answer: { rearmed: true } });
      const agentId = await running('wharf');
      expect(await mesh.client.kill(agentId)).toMatchObject({ confirmed: true });
    }),
  );
});
