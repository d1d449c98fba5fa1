import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Mesh } from '@capstan/localmesh';
import { newId } from '@capstan/protocol';
import { Footprint } from '../../bench/footprint.ts';
import { clientOf, EventLog } from '../../support/instance-client.js';
import { ModelRally } from '../../support/model-rally.js';
import { proves } from '../../support/proves.js';
import { git, TestRepository } from '../../support/repository.js';
import type { StartDriver } from './driver.js';

const AT_ONCE = 10;
/** ORC-128: what the instance's own processes hold meanwhile. Its times and CPU are the bench's, section (k) and (l). */
const MEMORY_MB = 4096;

/** Ten who live at the same time, on different tasks of one repository: the same on every sandbox. */
export function describeTen(startDriver: StartDriver): void {
  describe('ten agents at once', () => {
    it(
      "work on different tasks of one repository without a conflict, and within the instance's bounds",
      proves(['ORC-127', 'ORC-128', 'ORC-130'], async () => {
        await using driver = await startDriver();
        using repository = new TestRepository();
        let seen = { memoryMb: Number.NaN, connections: Number.NaN };
        const look = async () => {
          seen = { memoryMb: footprint.memoryMb(), connections: await footprint.valkeyConnections() };
        };
        await using rally = await ModelRally.start(AT_ONCE, look);
        const mesh = await Mesh.start({
          instances: ['quay'],
          repository: repository.path,
          policy: { concurrency: AT_ONCE },
          ...driver.mesh,
          model: { provider: 'anthropic', apiKey: 'sk-ant-test-0123456789', url: rally.url },
        });
        await using stack = new AsyncDisposableStack();
        stack.defer(() => mesh.stop());
        const client = clientOf(mesh.instance('quay'));
        stack.defer(() => client.close());
        const log = stack.use(new EventLog(client));
        const footprint = new Footprint(process.pid);
        const connections = await footprint.valkeyConnections();
        const remote = mesh.repository?.path ?? '';
        const files = Array.from({ length: AT_ONCE }, (_, at) => `task-${String(at)}.md`);
        const agents = await Promise.all(
          files.map(async (file) => ({
            file,
            agentId: await client.spawn({
              taskId: newId(),
              agentType: 'worker',
              context: { repository: remote, workItems: [`Write ${file}.`] },
            }),
          })),
        );
        for (const { agentId } of agents) await log.cleaned(agentId);
        expect(rally.met.toSorted()).toEqual(files.toSorted());
        for (const { agentId, file } of agents) {
          const agent = log.of(agentId).at(-1);
          expect(agent).toMatchObject({ state: 'completed', error: null, harvest: { files: [file], pushed: true } });
          const commit = agent?.harvest?.commit ?? '';
          expect(git(remote, 'show', `${commit}:${file}`)).toBe(`Written as ${file}.`);
          expect(git(remote, 'rev-parse', `${commit}^`)).toBe(git(remote, 'rev-parse', 'main'));
        }
        expect(seen.memoryMb).toBeLessThan(MEMORY_MB);
        // Whoever runs as an agent has none.
        expect(seen.connections).toBe(connections);
        expect(new Set(agents.map(({ agentId }) => log.of(agentId).at(-1)?.harvest?.branch)).size).toBe(AT_ONCE);
        expect(readdirSync(join(mesh.instance('quay').dir, 'agents'))).toEqual([]);
        await driver.leftNothing();
      }),
    );
  });
}
