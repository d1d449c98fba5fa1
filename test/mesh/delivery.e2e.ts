import { Mesh } from '@capstan/localmesh';
import { agentIn, commandIn, receiptOf, spawnAgent } from '../support/agents.js';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(300_000);

describe('delivery of a command', () => {
  const repository = new TestRepository();
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  const awayAndBack = async (whileAway: () => Promise<void>): Promise<void> => {
    const { spoke } = mesh.instance('quay');
    await spoke.stop();
    await until(
      'the hub sees that it is away',
      async () => (await mesh.client.connections()).every(({ online }) => !online) || undefined,
    );
    try {
      await whileAway();
    } finally {
      await spoke.start();
    }
  };

  it(
    'waits for an instance that is away, and arrives on its return',
    proves('FED-08', async () => {
      let order = { commandId: '', agentId: '' };
      await awayAndBack(async () => {
        order = await spawnAgent(mesh, 'quay', { expiresInMs: 60_000 });
        expect((await mesh.client.command(order.commandId)).state).toBe('PENDING');
      });
      await commandIn(mesh, order.commandId, 'DELIVERED');
      expect((await agentIn(mesh, order.agentId, 'completed', 'failed')).state).toBe('completed');
    }),
  );

  it(
    'expires where the instance stays away too long, and then has no effect',
    proves('FED-08', async () => {
      let order = { commandId: '', agentId: '' };
      await awayAndBack(async () => {
        order = await spawnAgent(mesh, 'quay', { expiresInMs: 1000 });
        await commandIn(mesh, order.commandId, 'TIMEOUT');
      });
      const later = await spawnAgent(mesh, 'quay');
      await receiptOf(mesh, later.agentId, 'finished');
      expect((await mesh.client.command(order.commandId)).state).toBe('TIMEOUT');
      expect(git(mesh.repository?.path ?? '', 'for-each-ref', '--contains', 'HEAD')).not.toContain(order.agentId);
    }),
  );

  it.each(['spoke', 'orchestrator', 'reaper'] as const)(
    'survives a kill -9 of the %s while agents are ordered, each with one effect',
    async (part) => {
      const orders = [];
      for (let index = 0; index < 4; index += 1) {
        // A start that finds no reaper has had no effect: it is tried again.
        orders.push(await spawnAgent(mesh, 'quay', { options: { maxRetries: 3 } }));
        if (index === 1) mesh.instance('quay')[part].kill('SIGKILL');
      }
      for (const { agentId, commandId } of orders) {
        const agent = await agentIn(mesh, agentId, 'completed', 'failed');
        // An agent that ran when its orchestrator died is lost, and says so; it is never run twice.
        if (agent.state === 'failed') expect(agent.error?.code).toBe('orchestrator-lost');
        const { receipts } = await mesh.client.command(commandId);
        expect(receipts.filter(({ kind }) => kind === 'spawned')).toHaveLength(1);
        expect(receipts.filter(({ kind }) => kind === 'finished').length).toBeLessThanOrEqual(1);
      }
    },
  );

  it(
    'survives a kill -9 of the hub: what was accepted with 202 is carried out',
    proves(['FED-07', 'FED-08'], async () => {
      const before = await Promise.all([spawnAgent(mesh, 'quay'), spawnAgent(mesh, 'quay')]);
      mesh.hub.process.kill('SIGKILL');
      await until('the hub is back', async () => (await mesh.client.isReady()) || undefined);
      await until(
        'the spoke is back',
        async () => (await mesh.client.connections()).every(({ online }) => online) || undefined,
      );
      for (const { agentId, commandId } of before) {
        expect((await agentIn(mesh, agentId, 'completed', 'failed')).state).toBe('completed');
        await receiptOf(mesh, agentId, 'finished');
        expect((await mesh.client.command(commandId)).receipts.filter(({ kind }) => kind === 'finished')).toHaveLength(
          1,
        );
      }
    }),
  );
});
