import { existsSync } from 'node:fs';
import { taskId, type AgentId, type AgentView } from '@capstan/protocol';
import { git } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import type { BuiltInAgent } from '../built-in-agent.js';
import type { TestExecution } from '../test-execution.js';

/** What every sandbox owes to work that is sent back. */
export function submitContract(agents: BuiltInAgent): void {
  describe('an agent that submits, and hears what is wrong', () => {
    let execution: TestExecution;
    beforeAll(() => ({ execution } = agents));
    afterEach(() => agents.holdBack());

    const start = (workItem: string, task: string, playbook = 'change-title') =>
      execution.spawn(workItem, { taskId: taskId(task), options: { playbook } });
    const ready = (id: AgentId) => agents.ready(id);
    const show = ({ harvest }: AgentView, path: string): string =>
      git(execution.remote, 'show', `${harvest?.commit ?? ''}:${path}`);
    const parents = ({ harvest }: AgentView): string[] =>
      git(execution.remote, 'log', '-1', '--format=%P', harvest?.commit ?? '').split(' ');

    it(
      'mends a conflict with another agent on the same lines, and stands on what that one pushed',
      proves(['ORC-112', 'ORC-110'], async () => {
        const second = await start('wait', 'one');
        await ready(second);
        const first = await execution.agentIn(await start('go', 'one'), 'completed');
        agents.letGo();
        const agent = await execution.agentIn(second, 'completed');
        expect(parents(agent)).toEqual([first.harvest?.commit]);
        expect(show(agent, 'README.md').split('\n').sort()).toEqual(
          [`# Title of ${second}`, `# Title of ${first.agentId}`].sort(),
        );
        expect(agent.harvest?.files).toHaveLength(2);
        expect(git(execution.remote, 'rev-parse', 'refs/heads/capstan/one')).toBe(agent.harvest?.commit);
        const text = await execution.textOf(second);
        expect(text).toMatch(/does not fit what was pushed to capstan\/one since the agent began: README\.md/);
        expect(text).toMatch(/line 1:\n\| <<<<<<< /);
      }),
    );

    it(
      'merges what was pushed to its branch meanwhile, where it wants both histories',
      proves('ORC-112', async () => {
        const id = await start('wait, then merge', 'two');
        await ready(id);
        const upstream = execution.checkout.commit('Another title', { 'README.md': '# Another title\n' });
        git(execution.checkout.path, 'push', '-q', execution.remote, 'HEAD:main');
        agents.letGo();
        const agent = await execution.agentIn(id, 'completed');
        const [onto, own = ''] = parents(agent);
        expect(onto).toBe(upstream);
        expect(git(execution.remote, 'show', `${own}:README.md`)).toBe(`# Title of ${id}`);
        expect(show(agent, 'README.md')).toContain('# Another title');
        git(execution.remote, 'fsck', '--strict');
      }),
    );

    it(
      'takes a secret out where it is told where that stands; the secret is in no log, commit or record',
      proves('ORC-120', async () => {
        const id = await start('mend', 'three', 'leak');
        const agent = await execution.agentIn(id, 'completed');
        expect(show(agent, 'src/config.ts')).toBe('export const port = 7400;');
        const text = await execution.textOf(id);
        expect(text).toContain('src/config.ts line 2 (anthropic-key)');
        expect(text).not.toContain('kkkkkkkk');
        expect(git(execution.remote, 'log', '--all', '-S', 'kkkkkkkk', '--format=%H')).toBe('');
      }),
    );

    it(
      'says at the end which secret was left in, pushes nothing, and keeps the work',
      proves('ORC-120', async () => {
        const id = await start('stubborn', 'four', 'leak');
        const agent = await execution.agentIn(id, 'failed');
        expect(agent.error).toEqual({
          code: 'secret-found',
          sentence: expect.stringContaining('src/config.ts line 2 (anthropic-key)') as string,
        });
        expect(JSON.stringify(agent)).not.toContain('kkkkkkkk');
        expect(git(execution.remote, 'for-each-ref', 'refs/heads/capstan/four')).toBe('');
        const kept = agents.bare().replace(/git$/, 'salvage');
        await until(
          'its work is kept',
          () => existsSync(kept) && git(kept, 'for-each-ref', `refs/capstan/salvage/${id}`),
        );
      }),
    );
  });
}
