import { join } from 'node:path';
import { Mesh } from '@capstan/localmesh';
import { agentIn, spawnAgent } from '../support/agents.js';
import { childrenOf, parentOf, processesIn } from '../support/host-processes.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(300_000);

describe('a kill whose hub is killed while PostgreSQL is away', () => {
  const repository = new TestRepository();
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay', 'harbor'], repository: repository.path });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  const running = async (instance: string): Promise<string> => {
    const { agentId } = await spawnAgent(mesh, instance, { playbook: 'long-run' });
    await agentIn(mesh, agentId, 'running');
    return agentId;
  };

  /** The server takes no connection any more, and the open ones are gone. @returns what lets it go on */
  function stopPostgres(): () => void {
    const data = join(mesh.stateDir, 'postgres', 'data');
    const postmaster = processesIn(data).find((pid) => parentOf(pid) === process.pid);
    if (postmaster === undefined) throw new Error('PostgreSQL does not run');
    process.kill(postmaster, 'SIGSTOP');
    for (const child of childrenOf(postmaster)) process.kill(child, 'SIGKILL');
    return () => {
      process.kill(postmaster, 'SIGCONT');
    };
  }

  it(
    'is in the record with its receipt, once, and reaches an instance that was away',
    proves(['FED-10', 'FED-08'], async () => {
      const [here, away] = [await running('quay'), await running('harbor')];
      await mesh.instance('harbor').spoke.stop();
      const goOn = stopPostgres();
      const hubPid = mesh.hub.process.pid ?? 0;
      let proven: { commandId: string; confirmed: boolean };
      let open: { commandId: string; confirmed: boolean };
      try {
        await until('the hub is without its database', async () => !(await mesh.client.isReady()));
        proven = await mesh.client.kill(here);
        open = await mesh.client.kill(away, { waitMs: 0 });
        process.kill(hubPid, 'SIGKILL');
      } finally {
        goOn();
      }
      expect([proven.confirmed, open.confirmed]).toEqual([true, false]);
      await until('the hub serves again', async () => mesh.hub.process.pid !== hubPid && (await mesh.client.isReady()));

      const record = await until('it is settled', async () => {
        const command = await mesh.client.command(proven.commandId);
        return command.receipts.length > 0 ? command : undefined;
      });
      expect(record).toMatchObject({ state: 'DELIVERED', agentId: here });
      expect(record.receipts.map(({ kind }) => kind)).toEqual(['killed']);
      const { entries } = await mesh.client.audit({ limit: 1000 });
      const chain = entries.map(({ record: text }) => JSON.parse(text) as Record<string, unknown>);
      const issued = chain.filter(({ kind, subject }) => kind === 'command.issued' && subject === proven.commandId);
      expect(issued).toMatchObject([{ late: true }]);

      await mesh.instance('harbor').spoke.start();
      await agentIn(mesh, away, 'killed');
      const delivered = await mesh.client.command(open.commandId);
      expect(delivered).toMatchObject({ state: 'DELIVERED', agentId: away });
    }),
  );
});
