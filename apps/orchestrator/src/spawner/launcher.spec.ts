import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { createLogger } from '@capstan/platform';
import { proves } from '../../../../test/support/proves.js';
import { planFor } from '../../test/plans.js';
import type { Claim } from '../valkey/agent.store.js';
import { AgentRuns } from './agent-run.js';
import type { FoundAgent } from './found-agent.js';
import { Launcher, type LauncherParts } from './launcher.js';
import { Sessions } from './session.js';
import type { UsageRecorder } from './usage-recorder.js';
import type { WorkPlace } from './work-place.js';

describe('an agent that gets its sockets again', () => {
  let room: string;
  beforeEach(() => (room = mkdtempSync(join(tmpdir(), 'capstan-launcher-'))));
  afterEach(() => rmSync(room, { recursive: true }));

  it(
    'needs nothing of the owner’s programs, and is judged by what was noted; so is the next life',
    proves('ORC-109', async () => {
      const sessions = new Sessions(room, undefined);
      const plan = planFor();
      const { agentId, taskId } = plan;
      const session = await sessions.open(agentId);
      const [first, second] = ['a'.repeat(40), 'b'.repeat(40)];
      await sessions.remember({
        agentId,
        uid: session.uid,
        gid: session.gid,
        worktree: { agentId, taskId, dir: '/w', adminDir: '/a', commit: first },
        targetRef: 'refs/heads/main',
        program: 'command',
        earlierTrees: { [first]: second },
        stand: { onto: first, by: 'merge' },
      });
      const launcher = new Launcher({
        sessions,
        logger: createLogger('test', { level: 'silent' }),
        programs: { find: () => Promise.reject(new Error('the owner has changed the policy')) },
        repositories: { recall: async () => ({ recallWorktree: () => ({}) }) },
        gateway: { open: async () => ({ close: async () => undefined }) },
        tell: () => undefined,
        judge: async (_: unknown, place: WorkPlace) => {
          place.earlierTrees.set(second, first);
          return { accepted: false, code: 'merge-conflict', sentence: '', text: '', mendable: true };
        },
      } as Partial<Record<keyof LauncherParts, unknown>> as LauncherParts);
      const run = new AgentRuns().open(agentId, () => undefined);
      const record = await sessions.recall(agentId);
      if (run === undefined || record === undefined) throw new Error('not there');
      const claim = { plan, agent: {}, fence: 1 } as unknown as Claim;
      const found = { record, sandbox: {} } as unknown as FoundAgent;
      const launched = await launcher.adopt(run, claim, found, {} as UsageRecorder);
      try {
        expect(launched.submits.stand).toEqual({ onto: first, by: 'merge' });
        expect([...launched.earlierTrees]).toEqual([[first, second]]);
        expect(() => run.inbox?.add({ messageId: 'm', text: 'x' })).toThrow();
        const asked = request({
          socketPath: join(session.runDirectory, 'submit.sock'),
          method: 'POST',
          path: '/submit',
        });
        asked.end(JSON.stringify({ summary: 'Done', onto: first }));
        const [answer] = (await once(asked, 'response')) as [IncomingMessage];
        expect(await json(answer)).toMatchObject({ code: 'merge-conflict' });
        expect(await sessions.recall(agentId)).toEqual({
          ...record,
          earlierTrees: { [first]: second, [second]: first },
          stand: {},
        });
      } finally {
        await launched.submits.close();
      }
    }),
  );
});
