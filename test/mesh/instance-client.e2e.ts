import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Mesh } from '@capstan/localmesh';
import type { OrchestratorClient, OrchestratorEvent } from '@capstan/platform';
import { newId } from '@capstan/protocol';
import { clientOf, EventLog } from '../support/instance-client.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(240_000);

const run = promisify(execFile);
const CLI = join(process.cwd(), 'dist/apps/cli/src/main.js');

describe('the client of an orchestrator', () => {
  const repository = new TestRepository();
  let mesh: Mesh;
  let client: OrchestratorClient;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path });
    client = clientOf(mesh.instance('quay'));
  });
  afterAll(async () => {
    client.close();
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  const order = (playbook: string) => ({
    taskId: newId(),
    agentType: 'worker' as const,
    context: { repository: mesh.repository?.path ?? '', workItems: ['Map this repository.'] },
    options: { playbook },
  });

  const stateOf = async (agentId: string): Promise<string | undefined> => (await client.status(agentId))?.state;

  it(
    'spawns, asks, kills, and says what it does not know',
    proves(['ORC-130', 'ORC-135'], async () => {
      const agentId = await client.spawn(order('long-run'));
      await until('it runs', async () => (await stateOf(agentId)) === 'running');
      const seen = await until('it was looked at twice', async () => {
        const agent = await client.status(agentId);
        return agent?.vitals !== undefined && agent.vitals.cpuMs > 0 ? agent.vitals : undefined;
      });
      expect(seen).toMatchObject({ stalled: null, heartbeatAt: expect.any(String), processes: expect.any(Number) });
      expect(await client.kill(agentId, 'enough')).toMatchObject({ agentId, outcome: 'killed' });
      await until('it is killed', async () => (await stateOf(agentId)) === 'killed');
      expect(await client.status(newId())).toBeUndefined();
      await expect(client.status('../queue')).rejects.toMatchObject({ code: 'id-malformed' });
      const wrong = { ...order('long-run'), runtime: 'no-such-runtime' };
      await expect(client.spawn(wrong)).rejects.toMatchObject({ code: 'policy-runtime' });
    }),
  );

  it(
    'orders again while the orchestrator is away, with one effect',
    proves('ORC-130', async () => {
      const { orchestrator } = mesh.instance('quay');
      orchestrator.kill('SIGKILL');
      const agentId = await client.spawn(order('repository-map'));
      await until('it has completed', async () => (await stateOf(agentId)) === 'completed', 60_000);
      const again = { ...order('repository-map'), agentId };
      await expect(client.spawn(again)).rejects.toMatchObject({ code: 'agent-exists' });
    }),
  );

  it(
    'hears every change once and in order, over cuts of its own and restarts of the orchestrator',
    proves(['ORC-130', 'ORC-107', 'ORC-109'], async () => {
      const { orchestrator } = mesh.instance('quay');
      await using whole = new EventLog(client);
      const pieces: OrchestratorEvent[] = [];
      const agents: string[] = [];
      let cursor = '0';
      for (let round = 0; round < 4; round += 1) {
        agents.push(await client.spawn(order('repository-map')));
        // A reader that goes away in the middle, and comes back with its cursor.
        const cut = new AbortController();
        for await (const event of client.events(cursor, cut.signal)) {
          pieces.push(event);
          if (event.kind === 'gap') continue;
          ({ cursor } = event);
          if (event.kind === 'agent' && event.agent.agentId === agents.at(-1) && event.agent.state === 'spawning')
            cut.abort();
        }
        if (round % 2 === 1) orchestrator.kill('SIGKILL');
      }
      const ends = ['completed', 'failed', 'killed'];
      for (const agentId of agents) {
        await until('it has ended', async () => ends.includes((await stateOf(agentId)) ?? ''), 120_000);
        await whole.cleaned(agentId);
      }
      const last = new AbortController();
      const total = whole.events.length;
      for await (const event of client.events(cursor, last.signal)) {
        pieces.push(event);
        if (pieces.length >= total) last.abort();
      }
      expect(pieces.slice(0, total)).toEqual(whole.events.slice(0, total));
      const cursors = whole.events.map((event) => (event.kind === 'gap' ? 'gap' : event.cursor));
      expect(new Set(cursors).size).toBe(cursors.length);
      expect(cursors).not.toContain('gap');
      for (const agentId of agents) {
        const revisions = whole.of(agentId).map(({ revision }) => revision);
        expect(revisions).toEqual(revisions.map((_, at) => at + 1));
      }
    }),
  );

  it(
    'hears what becomes of the operator’s message to an agent that runs',
    proves(['ORC-130', 'ORC-L4'], async () => {
      const agentId = await client.spawn(order('long-run'));
      await until('it runs', async () => (await stateOf(agentId)) === 'running');
      const words = ['agents', 'message', agentId, 'Go on.', '--local', mesh.instance('quay').dir, '--json'];
      const { stdout } = await run(process.execPath, [CLI, ...words]);
      const { messageId } = JSON.parse(stdout) as { messageId: string };
      await using heard = new EventLog(client, { agent: agentId, kinds: ['message'] });
      const states = (): unknown[] =>
        heard.events.map((event) => (event.kind === 'message' ? event.data['state'] : ''));
      await until('it waits', () => states().length > 0, 60_000);
      await client.kill(agentId);
      // Whether the agent asked its model once more before it died is nobody's to say.
      await until('its fate is told', () => states().length > 1, 60_000);
      expect(states()).toEqual(['waiting', expect.stringMatching(/^(?:taken|missed)$/)]);
      expect(heard.events[0]).toMatchObject({ data: { agentId, messageId } });
      await until('it is killed', async () => (await stateOf(agentId)) === 'killed');
      await expect(client.message(agentId, 'Go on.')).rejects.toMatchObject({ code: 'agent-ended' });
    }),
  );

  it('hears only what it asks for', async () => {
    const [one, other] = [await client.spawn(order('repository-map')), await client.spawn(order('repository-map'))];
    await using mine = new EventLog(client, { agent: one });
    await using tidied = new EventLog(client, { kinds: ['cleaned'] });
    await mine.cleaned(one);
    await tidied.cleaned(other);
    expect(mine.of(other)).toEqual([]);
    expect(mine.statesOf(one)).toEqual(['queued', 'spawning', 'running', 'completed']);
    expect(new Set(tidied.events.map(({ kind }) => kind))).toEqual(new Set(['cleaned']));
  });
});
