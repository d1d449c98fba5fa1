import { Mesh } from '@capstan/localmesh';
import { proves } from '../../support/proves.js';
import { TestRepository } from '../../support/repository.js';
import { isSalvaged, salvaged } from '../../support/salvage.js';
import type { StartDriver, TestDriver } from '../execution/driver.js';
import { failsWith } from './fails-with.js';

/** How agents end that do not do as they should: the same on every sandbox. */
export function describeEnds(startDriver: StartDriver): void {
  describe('an agent that does not end as it should', () => {
    const repository = new TestRepository();
    let driver: TestDriver;
    let mesh: Mesh;

    beforeAll(async () => {
      driver = await startDriver();
      mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, ...driver.mesh });
    });
    afterAll(async () => {
      await mesh.stop();
      await driver[Symbol.asyncDispose]();
      repository[Symbol.dispose]();
    });

    const quay = () => mesh.instance('quay');

    it(
      'is stopped when its time is over, in the middle of a command, and its work is kept',
      proves(['ORC-109', 'ORC-111', 'ORC-118'], async () => {
        const order = { playbook: 'long-run', options: { timeoutMs: 8_000 } };
        const agentId = await failsWith(mesh, order, 'agent-timeout');
        expect(await salvaged(quay(), agentId, 'WATCH.md')).toBe('The watch has begun.');
      }),
    );

    it(
      'stops without a submit, after it was reminded, and its work is kept',
      proves(['ORC-109', 'ORC-111', 'ORC-118'], async () => {
        const agentId = await failsWith(mesh, { playbook: 'never-submit' }, 'agent-no-submit');
        expect(await salvaged(quay(), agentId, 'HALF.md')).toBe('Half of the work.');
      }),
    );

    it(
      'crashes, and its work is kept',
      proves(['ORC-109', 'ORC-111', 'ORC-118'], async () => {
        const agentId = await failsWith(mesh, { playbook: 'crash' }, 'agent-crashed');
        expect(await salvaged(quay(), agentId, 'BEGUN.md')).toBe('Half of the work.');
      }),
    );

    it(
      'submits nothing, and there is nothing to keep',
      proves(['ORC-109', 'ORC-118'], async () => {
        const agentId = await failsWith(mesh, { playbook: 'no-change' }, 'agent-no-change');
        expect(isSalvaged(quay(), agentId)).toBe(false);
      }),
    );

    it(
      'uses all its iterations',
      proves('ORC-109', async () => {
        const agentId = await failsWith(mesh, { playbook: 'endless' }, 'agent-iterations');
        expect((await mesh.client.agent(agentId)).usage.requests).toBe(200);
      }),
    );

    it.each(['embedded-repository', 'garbage'])('leaves what must not get into a repository: %s', (playbook) =>
      proves('SEC-02', async () => {
        await failsWith(mesh, { playbook }, 'harvest-refused');
      })(),
    );

    it('asks for a playbook that does not exist', async () => {
      await failsWith(mesh, { playbook: 'no-such-playbook' }, 'model-unavailable');
    });

    it('leaves nothing to its driver', () => driver.leftNothing());
  });
}
