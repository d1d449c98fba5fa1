import { readFileSync, writeFileSync } from 'node:fs';
import type { AgentId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { git } from '../../../../test/support/repository.js';
import type { BuiltInAgent } from '../built-in-agent.js';
import type { TestExecution } from '../test-execution.js';

/** What every sandbox owes to conversations that grow long. */
export function compactionContract(agents: BuiltInAgent): void {
  describe('a conversation that nears the context of its model', () => {
    let execution: TestExecution;
    beforeAll(() => {
      ({ execution } = agents);
      const { policy } = execution.settings.paths;
      const written = JSON.parse(readFileSync(policy, 'utf8')) as object;
      writeFileSync(policy, JSON.stringify({ ...written, compaction: { contextTokens: 20_000, atPercent: 30 } }));
    });

    const logOf = (branch = ''): string => git(execution.remote, 'show', `${branch}:LOG.md`);
    const spawn = (item: string, playbook: string) => execution.spawn(item, { options: { playbook } });

    async function firstCompaction(id: AgentId): Promise<unknown> {
      for await (const event of execution.orchestrator.api.events.read('0', AbortSignal.timeout(60_000))) {
        if (event.kind === 'compaction' && event.json.includes(id)) return JSON.parse(event.json);
      }
      return undefined;
    }

    it(
      'goes on by the model’s own summary, with its task, and what that cost is metered',
      proves('ORC-L4', async () => {
        const id = await spawn('Keep a log.', 'long-talk');
        const agent = await execution.agentIn(id, 'completed');
        expect(logOf(agent.harvest?.branch)).toBe('summed up');
        expect(await firstCompaction(id)).toEqual({
          agentId: id,
          at: expect.any(String) as string,
          replies: expect.any(Number) as number,
          tokens: expect.any(Number) as number,
        });
        const text = await execution.textOf(id);
        const summaries = [...text.matchAll(/^Summed up (\d+) older replies of a conversation of (\d+) tokens/gm)];
        expect(agent.usage.requests).toBe(6 + summaries.length);
        // Not before its time, and never what stands last.
        for (const [, replies, tokens] of summaries) {
          expect(Number(tokens)).toBeGreaterThanOrEqual(6_000);
          expect(Number(replies)).toBeLessThan(4);
        }
      }),
    );

    it('stays as it is where the model gives no summary', async () => {
      const id = await spawn('Keep a log.', 'long-talk-mute');
      const agent = await execution.agentIn(id, 'completed');
      expect(logOf(agent.harvest?.branch)).toBe('in full');
      expect(await execution.textOf(id)).not.toContain('Summed up');
    });

    it('ends its agent with a reason of its own where no room can be made', async () => {
      const id = await spawn('endless', 'long-talk-mute');
      const agent = await execution.agentIn(id, 'failed');
      expect(agent.error).toEqual({
        code: 'agent-context',
        sentence: "The agent's conversation outgrew the context of its model.",
      });
      const text = await execution.textOf(id);
      expect(text.match(/gave no summary/g)).toHaveLength(3);
    });
  });
}
