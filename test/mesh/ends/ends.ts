import { join } from 'node:path';
import { ReaperClient } from '@capstan/platform';
import { proves } from '../../support/proves.js';
import { isSalvaged, salvaged } from '../../support/salvage.js';
import { until } from '../../support/until.js';
import type { StartDriver } from '../execution/driver.js';
import { quayOn } from '../execution/quay-on.js';
import { failsWith } from './fails-with.js';

/** How agents end that do not do as they should: the same on every sandbox. */
export function describeEnds(startDriver: StartDriver): void {
  describe('an agent that does not end as it should', () => {
    const room = quayOn(startDriver);

    it(
      'is stopped when its time is over, in the middle of a command, and its work is kept',
      proves(['ORC-109', 'ORC-111', 'ORC-118'], async () => {
        const order = { playbook: 'long-run', options: { timeoutMs: 30_000 } };
        const agentId = await failsWith(room.mesh, order, 'agent-timeout');
        expect(await salvaged(room.quay(), agentId, 'WATCH.md')).toBe('The watch has begun.');
        const { lines } = await room.mesh.client.logs(agentId);
        expect(lines.map(({ text }) => text).join()).toContain('the watch goes on');
      }),
    );

    it(
      'stops without a submit, after it was reminded, and its work is kept',
      proves(['ORC-109', 'ORC-111', 'ORC-118'], async () => {
        const agentId = await failsWith(room.mesh, { playbook: 'never-submit' }, 'agent-no-submit');
        expect(await salvaged(room.quay(), agentId, 'HALF.md')).toBe('Half of the work.');
      }),
    );

    it(
      'crashes, and its work is kept',
      proves(['ORC-109', 'ORC-111', 'ORC-118'], async () => {
        const agentId = await failsWith(room.mesh, { playbook: 'crash' }, 'agent-crashed');
        expect(await salvaged(room.quay(), agentId, 'BEGUN.md')).toBe('Half of the work.');
      }),
    );

    it(
      'submits nothing, and there is nothing to keep',
      proves(['ORC-109', 'ORC-118'], async () => {
        const agentId = await failsWith(room.mesh, { playbook: 'no-change' }, 'agent-no-change');
        expect(isSalvaged(room.quay(), agentId)).toBe(false);
      }),
    );

    it(
      'uses all its iterations',
      proves('ORC-109', async () => {
        const agentId = await failsWith(room.mesh, { playbook: 'endless' }, 'agent-iterations');
        expect((await room.mesh.client.agent(agentId)).usage.requests).toBe(200);
      }),
    );

    it.each(['embedded-repository', 'garbage'])('leaves what must not get into a repository: %s', (playbook) =>
      proves('SEC-02', async () => {
        await failsWith(room.mesh, { playbook }, 'harvest-refused');
      })(),
    );

    it('asks for a playbook that does not exist', async () => {
      await failsWith(room.mesh, { playbook: 'no-such-playbook' }, 'model-unavailable');
    });

    it('leaves nothing to its reaper, nor to its driver', async () => {
      using stack = new DisposableStack();
      const socket = join(room.quay().dir, 'run', 'reaper.sock');
      const reaper = stack.adopt(new ReaperClient(socket), (it) => it.close());
      await until('it guards nobody', async () => (await reaper.describe()).agents.length === 0);
      await room.leftNothing();
    });
  });
}
