import { appendFileSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { OrchestratorClient } from '@capstan/platform';
import { newId } from '@capstan/protocol';
import { agentIn, completed, receiptOf, spawnAgent } from '../../support/agents.js';
import { livingIn } from '../../support/host-processes.js';
import { InstanceApi } from '../../support/instance-api.js';
import { clientOf, EventLog } from '../../support/instance-client.js';
import { proves } from '../../support/proves.js';
import { git } from '../../support/repository.js';
import { until } from '../../support/until.js';
import type { StartDriver } from './driver.js';
import { quayOn, type Running } from './quay-on.js';

const PASSES = 20;
/** ORC-126: a kill takes at most so long, from the order to the answer that proves the death. */
const KILL_MS = 5_000;
/** What a commit says of who made it: author, committer, trailers. */
const WRITTEN = '%an <%ae>%n%cn <%ce>%n%(trailers:only,unfold)';
/** In whose name the instance's owner has agents' work committed. */
const AUTHOR = { name: 'Quay agents', email: 'agents@quay.example' };

/** What an agent goes through, and how it is killed: the same on every sandbox. */
export function describeLife(startDriver: StartDriver): void {
  describe('the execution plane', () => {
    const room = quayOn(startDriver);
    let client: OrchestratorClient;

    beforeAll(() => {
      appendFileSync(join(room.quay().dir, 'policy.yaml'), `\nauthor: ${JSON.stringify(AUTHOR)}\n`);
      client = clientOf(room.quay());
    });
    afterAll(() => client.close());

    const remote = (): string => room.mesh.repository?.path ?? '';
    const agentDirectories = (): string[] => readdirSync(join(room.quay().dir, 'agents'));

    it(
      `takes an agent from its order to its pushed branch, ${String(PASSES)} times in a row, and every step is told`,
      proves(['ORC-125', 'ORC-107', 'ORC-109', 'ORC-110'], async () => {
        await using log = new EventLog(client);
        for (let pass = 1; pass <= PASSES; pass += 1) {
          const { agentId } = await spawnAgent(room.mesh, 'quay');
          const agent = await completed(room.mesh, agentId);
          await log.cleaned(agentId);
          expect(log.statesOf(agentId)).toEqual(['queued', 'spawning', 'running', 'completed']);
          const changes = log.of(agentId);
          expect(changes.map(({ revision }) => revision)).toEqual(changes.map((_, at) => at + 1));
          const { queuedAt, startedAt, completedAt, harvest, error } = changes.at(-1) ?? {};
          const times = [queuedAt, startedAt, completedAt].map((at) => Date.parse(at ?? ''));
          expect(times).not.toContain(NaN);
          expect(times).toEqual(times.toSorted((a, b) => a - b));
          expect({ error, pushed: harvest?.pushed }).toEqual({ error: null, pushed: true });
          expect(git(remote(), 'rev-parse', `refs/heads/capstan/${agent.taskId}`)).toBe(harvest?.commit);
          expect(git(remote(), 'log', '-1', `--format=${WRITTEN}`, harvest?.commit ?? '').split('\n')).toEqual([
            `${AUTHOR.name} <${AUTHOR.email}>`,
            `${AUTHOR.name} <${AUTHOR.email}>`,
            `Capstan-Agent: ${agentId}`,
            `Capstan-Task: ${agent.taskId}`,
            'Capstan-Instance: quay',
          ]);
          const task = await new InstanceApi(room.quay()).call('GET', `/tasks/${agent.taskId}`);
          expect(task.body).toEqual({ taskId: agent.taskId, agentId, state: 'completed' });
          expect(await receiptOf(room.mesh, agentId, 'finished')).toMatchObject({ verified: true });
          expect(agentDirectories()).toEqual([]);
        }
        await room.leftNothing();
      }),
    );

    describe('a kill', () => {
      /** No process, no control group, no files, no worktree in git, the state, and the reaper's word for it. */
      async function isGone({ agentId, place }: Running, log: EventLog): Promise<void> {
        expect(livingIn(place)).toEqual([]);
        await agentIn(room.mesh, agentId, 'killed');
        await log.cleaned(agentId);
        expect(log.statesOf(agentId).at(-1)).toBe('killed');
        if (place.cgroup !== '') expect(existsSync(place.cgroup)).toBe(false);
        const repositories = join(room.quay().dir, 'repositories');
        for (const bare of readdirSync(repositories).filter((name) => name.endsWith('.git')))
          expect(git(join(repositories, bare), 'worktree', 'list')).not.toContain(agentId);
      }

      it(
        'of one agent is proven within five seconds, and nothing of it is left',
        proves(['ORC-126', 'ORC-117', 'ORC-118'], async () => {
          await using log = new EventLog(client);
          const [victim, other] = [await room.running(), await room.running()];
          const orderedAt = performance.now();
          const answer = await room.mesh.client.kill(victim.agentId);
          expect(performance.now() - orderedAt).toBeLessThan(KILL_MS);
          expect(answer).toMatchObject({ outcome: 'killed', confirmed: true, receipt: { verified: true } });
          await isGone(victim, log);
          expect(livingIn(other.place)).not.toEqual([]);
          expect(await client.kill(other.agentId)).toMatchObject({ outcome: 'killed' });
          await isGone(other, log);
          expect(agentDirectories()).toEqual([]);
          await room.leftNothing();
        }),
      );

      it(
        'of a task reaches its agents, those that wait too, and no other',
        proves('ORC-117', async () => {
          await using log = new EventLog(client);
          const taskId = newId();
          const { agentId, place } = await room.running({ taskId });
          const other = await room.running();
          await new InstanceApi(room.quay()).call('POST', '/queue/pause', {});
          const waiting = await client.spawn({
            taskId,
            agentType: 'worker',
            context: { repository: remote(), workItems: ['Wait.'] },
            options: { playbook: 'long-run' },
          });
          const killed = new Map<string, string>();
          await until('everybody is reached', async () => {
            const { complete, agents } = await client.killTask(taskId);
            for (const { agentId: id, outcome } of agents) killed.set(id, killed.get(id) ?? outcome);
            return complete;
          });
          await new InstanceApi(room.quay()).call('POST', '/queue/resume', {});
          expect([...killed].sort()).toEqual(
            [
              [agentId, 'killed'],
              [waiting, 'tombstoned'],
            ].sort(),
          );
          await isGone({ agentId, place }, log);
          await until('the waiting one is killed', async () => (await client.status(waiting))?.state === 'killed');
          expect(livingIn(other.place)).not.toEqual([]);
          await client.kill(other.agentId);
          await isGone(other, log);
        }),
      );

      it(
        'of all is proven within five seconds, and nothing starts until it is re-armed',
        proves(['ORC-126', 'ORC-117', 'ORC-118'], async () => {
          await using log = new EventLog(client);
          const victims = [await room.running(), await room.running(), await room.running()];
          const orderedAt = performance.now();
          const killed = await client.killAll('stop');
          expect(performance.now() - orderedAt).toBeLessThan(KILL_MS);
          expect(killed.map(({ agentId, outcome }) => [agentId, outcome]).sort()).toEqual(
            victims.map(({ agentId }) => [agentId, 'killed']).sort(),
          );
          for (const victim of victims) await isGone(victim, log);
          expect(agentDirectories()).toEqual([]);
          await room.leftNothing();
          await new InstanceApi(room.quay()).call('POST', '/agents/rearm', {});
          const { agentId } = await spawnAgent(room.mesh, 'quay');
          await completed(room.mesh, agentId);
        }),
      );
    });
  });
}
