import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandAccepted, HubClient, HubProblem, Mesh, type MeshHub, OwnerClient } from '@capstan/localmesh';
import { newId } from '@capstan/protocol';
import { livingIn, placeOf } from '../support/host-processes.js';
import { LedgerSpoke } from '../support/ledger-spoke.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

// Real processes on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(300_000);

/** Besides the two instances with real agents. DESIGN.md, section 9: three hubs, two hundred spokes, load. */
const SPOKES = 200;
const AT_ONCE = 8;
const LONG_MS = 90_000;

describe('three hubs over one database and one Valkey', () => {
  const repository = new TestRepository();
  let mesh: Mesh;

  beforeAll(async () => {
    const instances = ['harbor', 'quay'];
    const dials = { harbor: [0, 1, 2], quay: [1, 2, 0] };
    mesh = await Mesh.start({ hubs: 3, instances, dials, repository: repository.path });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  const hub = (index: number): MeshHub => {
    const found = mesh.hubs[index];
    if (found === undefined) throw new Error(`there is no hub ${String(index)}`);
    return found;
  };
  const spawn = (at: MeshHub, instance: string, playbook = 'long-run'): Promise<CommandAccepted> =>
    at.client.spawn({
      instance,
      agentType: 'worker',
      context: { repository: mesh.repository?.path ?? '', workItems: ['Map this repository.'] },
      options: { playbook },
    });
  const isIn = (at: MeshHub, agentId: string, state: string): Promise<boolean> =>
    until(`agent ${agentId} is ${state}`, async () => {
      const agent = await at.client.agent(agentId).catch(() => undefined);
      return agent?.state === state;
    });

  it(
    'bring a command that one accepts to an instance at another, and its receipts back to the asker',
    proves('FED-19', async () => {
      const { commandId, agentId } = await spawn(hub(2), 'quay', 'repository-map');
      const view = await until('its receipt is here', async () => {
        const command = await hub(2).client.command(commandId, 5_000);
        return command.receipts.length > 0 && command;
      });
      expect(view).toMatchObject({ state: 'DELIVERED', receipts: [{ kind: 'spawned' }] });
      for (const at of mesh.hubs) await isIn(at, agentId, 'completed');
      const { receipt } = await hub(2).client.status(agentId);
      expect(receipt.kind).toBe('status');
    }),
  );

  it(
    'end agents of instances that are linked to another, one and all, and let none start anywhere until re-armed',
    proves(['FED-19', 'FED-10'], async () => {
      const homes = ['harbor', 'quay', 'quay'];
      const agents = await Promise.all(homes.map((home) => spawn(hub(2), home)));
      for (const { agentId } of agents) await isIn(hub(2), agentId, 'running');
      const places = await Promise.all(
        agents.map(({ agentId }, at) => placeOf(mesh.instance(homes[at] ?? ''), agentId)),
      );
      const living = (): number[] => places.flatMap((place) => (place === undefined ? [] : livingIn(place)));
      expect(living()).not.toEqual([]);
      const killed = await hub(2).client.kill(agents[0]?.agentId ?? '', { waitMs: 30_000 });
      expect(killed).toMatchObject({ outcome: 'killed', confirmed: true });

      const [second, stopper] = await Promise.all(
        ['second', 'stopper'].map(async (name, at) => {
          const { token } = await hub(0).client.makeToken(name);
          const client = new HubClient(hub(at + 1).url, token);
          await until('its token opens another', () => client.connections().catch(() => undefined));
          return client;
        }),
      );
      const totals = await stopper?.killAll({ scope: 'mesh', waitMs: 30_000 });
      expect(totals).toMatchObject({ instances: 2, confirmed: 2 });
      expect(living()).toEqual([]);
      for (const at of mesh.hubs) {
        const code = await until('it lets none start', () =>
          spawn(at, 'quay').then(
            () => undefined,
            (error: unknown) => (error instanceof HubProblem ? error.code : undefined),
          ),
        );
        expect(code).toBe('disarmed');
      }
      const lines = await second?.rearm({ scope: 'mesh', waitMs: 30_000 });
      expect(lines?.instances.map(({ rearmed }) => rearmed)).toEqual([true, true]);
      const { agentId } = await until('it lets start again', () => spawn(hub(0), 'quay').catch(() => undefined));
      await hub(1).client.kill(agentId, { waitMs: 30_000 });
    }),
  );

  it(
    'lose nothing and do nothing twice in a rolling restart with two hundred spokes under load',
    proves('FED-19', async () => {
      await using parts = new AsyncDisposableStack();
      const begunAt = performance.now();
      const spokes: LedgerSpoke[] = [];
      let next = 0;
      const joining = Array.from({ length: AT_ONCE }, async () => {
        while (next < SPOKES) {
          const at = next++;
          spokes.push(parts.use(await LedgerSpoke.join(`sim-${String(at)}`, mesh.hubs, at)));
        }
      });
      await Promise.all(joining);
      const joinedAt = performance.now();

      const accepted: CommandAccepted[] = [];
      let isOver = false;
      parts.defer(() => {
        isOver = true;
      });
      const load = async (): Promise<void> => {
        for (let turn = 0; !isOver; turn += 1) {
          const order = {
            instance: `sim-${String((turn * 7) % SPOKES)}`,
            agentType: 'worker' as const,
            agentId: newId(),
            context: { repository: '/srv/repository', workItems: ['Map it.'] },
          };
          // Whoever finds a hub that is down asks the next.
          const taken = await hub(turn % 3)
            .client.spawn(order)
            .catch(() => undefined);
          if (taken !== undefined) accepted.push(taken);
        }
      };
      const loading = load();
      const more = async (count: number): Promise<void> => {
        const wanted = accepted.length + count;
        await until('more is accepted', () => accepted.length >= wanted, LONG_MS);
      };
      await more(20);
      for (const { process } of mesh.hubs) {
        await process.stop();
        await more(20);
        await process.start(LONG_MS);
      }
      await more(20);
      isOver = true;
      await loading;

      const effects = new Map(spokes.flatMap((spoke) => [...spoke.effects]));
      expect(spokes.flatMap(({ doubled }) => doubled)).toEqual([]);
      for (const [turn, { commandId }] of accepted.entries()) {
        const view = await until(
          `${commandId} is answered`,
          async () => {
            const command = await hub(turn % 3).client.command(commandId, 1_000);
            return command.receipts.length > 0 && command;
          },
          LONG_MS,
        );
        expect(view.state).toBe('DELIVERED');
        expect(view.receipts.map(({ kind }) => kind)).toEqual(['spawned']);
      }
      for (const spoke of spokes) for (const [id, agent] of spoke.effects) effects.set(id, agent);
      for (const { commandId, agentId } of accepted) expect(effects.get(commandId)).toBe(agentId);
      expect(new Set(effects.values()).size).toBe(effects.size);
      // Each went by itself, and was not cut.
      for (const name of ['hub', 'hub-1', 'hub-2'])
        expect(readFileSync(join(mesh.stateDir, 'logs', `${name}.log`), 'utf8')).not.toContain(
          'the drain took too long',
        );
      const seconds = (from: number, to: number): string => ((to - from) / 1_000).toFixed(1);
      process.stdout.write(
        `rolling restart: ${String(SPOKES)} spokes joined in ${seconds(begunAt, joinedAt)} s, ${String(accepted.length)} ` +
          `commands in ${seconds(joinedAt, performance.now())} s\n`,
      );
    }),
  );

  it(
    'believe the instance’s new key everywhere, and the hub’s',
    proves(['FED-19', 'FED-11'], async () => {
      const { keyId } = await hub(1).client.rotateKey();
      for (const at of mesh.hubs)
        await until('it shows the key', async () => (await at.client.instance()).keys[0]?.keyId === keyId);
      const own = await new OwnerClient(mesh.instance('quay').dir).rotateKey({});
      expect(own.keyId).not.toBe('');
      // Its hub goes: with the new key it must be let in by another, and believe that one's.
      await hub(1).process.stop();
      await until('it has moved', async () => isOnline(await hub(0).client.connections(), 'quay'));
      const { commandId } = await until('it is ordered', () =>
        spawn(hub(0), 'quay', 'repository-map').catch(() => undefined),
      );
      await until('it obeys', async () => (await hub(2).client.command(commandId, 5_000)).receipts.length > 0);
      await hub(1).process.start(LONG_MS);
    }),
  );

  it(
    'cut an instance that is revoked at another, and end its agents',
    proves(['FED-19', 'FED-12'], async () => {
      const { agentId } = await until('it is ordered', () => spawn(hub(1), 'harbor').catch(() => undefined));
      await isIn(hub(1), agentId, 'running');
      const place = await placeOf(mesh.instance('harbor'), agentId);
      const id = (await hub(0).client.connections()).find(({ instanceId }) => instanceId === 'harbor')?.id ?? '';
      // None of the three but one can hold its link: at two of them it is revoked elsewhere.
      await hub(2).client.moveConnection(id, 'revoke');
      const revokedAt = performance.now();
      await Promise.all(
        mesh.hubs.map((at) =>
          until('it knows and holds no link', async () => {
            const known = (await at.client.connections()).find(({ instanceId }) => instanceId === 'harbor');
            return known?.state === 'REVOKED' && !known.online;
          }),
        ),
      );
      const ms = Math.round(performance.now() - revokedAt);
      process.stdout.write(`revocation: known at all three hubs after ${String(ms)} ms\n`);
      await until('its agents are dead', () => place === undefined || livingIn(place).length === 0);
    }),
  );
});

function isOnline(connections: readonly { instanceId: string; online: boolean }[], instance: string): boolean {
  return connections.some(({ instanceId, online }) => instanceId === instance && online);
}
