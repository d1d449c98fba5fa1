import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { dirname, join } from 'node:path';
import type { OrchestratorClient } from '@capstan/platform';
import { agentIn, completed, receiptOf } from '../../support/agents.js';
import { type AgentPlace, commandOf, livingIn, placeOf } from '../../support/host-processes.js';
import { clientOf, EventLog } from '../../support/instance-client.js';
import { streamOf } from '../../support/model-stream.js';
import { Upstream, type UpstreamRequest } from '../../support/model-upstream.js';
import { proves } from '../../support/proves.js';
import { git } from '../../support/repository.js';
import { until } from '../../support/until.js';
import type { StartDriver } from './driver.js';
import { quayOn } from './quay-on.js';

/** ORC-126: a kill takes at most so long; its way to the reaper is what the test of an agent's life measures. */
const KILL_MS = 5_000;
const ENDLESS = '48619';
const PROGRAM = {
  kind: 'command',
  directory: dirname(require.resolve('@anthropic-ai/claude-code/package.json')),
  run: ['/opt/capstan/node', '/opt/program/cli.js', '--print', '--dangerously-skip-permissions'],
  environment: {
    ANTHROPIC_MODEL: 'claude-opus-4-6',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    DISABLE_AUTOUPDATER: '1',
  },
};

/** Has the log written, or something begun that never ends where the task speaks of an anchor. */
function answer(response: ServerResponse, { body }: UpstreamRequest): void {
  const messages = body['messages'] as { role: string }[];
  const isFirst = !messages.some(({ role }) => role === 'assistant');
  const isEndless = JSON.stringify(messages).includes('Lie at anchor');
  const command = isEndless ? `(setsid sleep ${ENDLESS} &); sleep ${ENDLESS}` : 'echo Calm. >HARBOR.md';
  const call = { type: 'tool_use', id: 'toolu_1', name: 'Bash', input: { command, description: 'Work' } };
  const said = { type: 'text', text: 'Keep a log of the harbor' };
  streamOf(response, [isFirst ? call : said], { input: 1000, output: 100 });
}

/** What the published program Claude Code goes through as an agent, and how it is killed: the same on every sandbox. */
export function describeClaudeCode(startDriver: StartDriver): void {
  describe('Claude Code as an agent', () => {
    const held = new AsyncDisposableStack();
    let upstream: Upstream;
    let client: OrchestratorClient;

    beforeAll(async () => {
      upstream = held.use(await Upstream.start(answer));
    });
    const room = quayOn(startDriver, () => ({
      policy: { runtimes: ['claude-code'] },
      model: { provider: 'anthropic', apiKey: 'sk-ant-test-0123456789', url: upstream.url },
    }));
    beforeAll(() => {
      client = held.adopt(clientOf(room.quay()), (it) => it.close());
      const policy = join(room.quay().dir, 'policy.yaml');
      // JSON is YAML.
      const programs = JSON.stringify({ 'claude-code': PROGRAM });
      writeFileSync(policy, `${readFileSync(policy, 'utf8')}programs: ${programs}\n`);
    });
    afterAll(() => held.disposeAsync());

    const remote = (): string => room.mesh.repository?.path ?? '';
    const spawn = async (workItem: string): Promise<string> => {
      const context = { repository: remote(), workItems: [workItem] };
      const { agentId } = await room.mesh.client.spawn({
        instance: 'quay',
        agentType: 'worker',
        runtime: 'claude-code',
        context,
      });
      return agentId;
    };
    const leftNothing = async (): Promise<void> => {
      expect(readdirSync(join(room.quay().dir, 'agents'))).toEqual([]);
      await room.leftNothing();
    };

    it(
      'goes from its order to its pushed branch, and what its model cost is told',
      proves(['ORC-125', 'ORC-L4', 'ORC-L3'], async () => {
        await using log = new EventLog(client);
        const agentId = await spawn('Keep a log.');
        await log.cleaned(agentId);
        const { taskId } = await completed(room.mesh, agentId);
        expect(log.statesOf(agentId)).toEqual(['queued', 'spawning', 'running', 'completed']);
        const { harvest, usage } = log.of(agentId).at(-1) ?? {};
        expect(harvest).toMatchObject({ files: ['HARBOR.md'], pushed: true });
        const commit = harvest?.commit ?? '';
        expect(git(remote(), 'rev-parse', `refs/heads/capstan/${taskId}`)).toBe(commit);
        expect(git(remote(), 'show', `${commit}:HARBOR.md`)).toBe('Calm.');
        expect(git(remote(), 'log', '-1', '--format=%s', commit)).toBe('Keep a log of the harbor');
        expect(git(remote(), 'log', '-1', '--format=%b', commit)).toContain(`Capstan-Agent: ${agentId}`);
        const requests = usage?.requests ?? 0;
        expect(requests).toBeGreaterThanOrEqual(2);
        expect(usage).toMatchObject({
          inputTokens: requests * 1000,
          costMicroUsd: requests * (1000 * 5 + 100 * 25),
        });
        expect(await receiptOf(room.mesh, agentId, 'finished')).toMatchObject({ verified: true });
        await leftNothing();
      }),
    );

    it(
      'is killed within five seconds with all that it has started, one of which has left its group',
      proves(['ORC-126', 'ORC-117', 'ORC-118', 'ORC-L4'], async () => {
        await using log = new EventLog(client);
        const agentId = await spawn('Lie at anchor.');
        const isAtWork = async (): Promise<AgentPlace | undefined> => {
          const place = await placeOf(room.quay(), agentId);
          if (place === undefined) return undefined;
          const sleeping = livingIn(place).filter((pid) => commandOf(pid).includes(ENDLESS));
          return sleeping.length === 2 ? place : undefined;
        };
        const place = await until('its endless command runs', isAtWork, 120_000);
        const answered = await room.mesh.client.kill(agentId, { waitMs: 20_000 });
        const left = livingIn(place);
        const proven = { outcome: 'killed', confirmed: true, receipt: { verified: true } };
        expect({ answered, left }).toMatchObject({ answered: proven, left: [] });
        const { observation } = answered.receipt?.result as {
          observation: { orderedAtMs: number; observedAtMs: number };
        };
        expect(observation.observedAtMs - observation.orderedAtMs).toBeLessThan(KILL_MS);
        await agentIn(room.mesh, agentId, 'killed');
        await log.cleaned(agentId);
        if (place.cgroup !== '') expect(existsSync(place.cgroup)).toBe(false);
        await leftNothing();
      }),
    );
  });
}
