import { HubProblem, Mesh, type SpawnBody } from '@capstan/localmesh';
import { agentIn, commandIn, spawnAgent } from '../support/agents.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';

jest.setTimeout(300_000);

/** The problem document that a request is answered with. */
async function problemOf(request: Promise<unknown>): Promise<HubProblem> {
  const answer = await request.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(answer instanceof HubProblem)) throw new Error('the request was not refused');
  return answer;
}

describe('orders that are wrong', () => {
  const repository = new TestRepository();
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  it('names an unknown instance with 404', async () => {
    expect(await problemOf(spawnAgent(mesh, 'atlantis'))).toMatchObject({ status: 404, code: 'instance-unknown' });
  });

  it('names an unknown agent with 404', async () => {
    expect(await problemOf(mesh.client.agent('nobody'))).toMatchObject({ status: 404, code: 'agent-unknown' });
  });

  it('names every wrong field of a body with 400', async () => {
    const body = { instance: 'quay', agentType: 'boss', context: { repository: 7, workItems: 'all' }, colour: 'red' };
    const problem = await problemOf(mesh.client.spawn(body as unknown as SpawnBody));
    expect(problem).toMatchObject({ status: 400, code: 'validation' });
    expect(new Set(problem.errors.map(({ field }) => field))).toEqual(
      new Set(['agentType', 'colour', 'context.repository', 'context.workItems']),
    );
  });

  it.each([
    ['a runtime that the owner does not offer', { runtime: 'cobol' }, 'policy-runtime'],
    ['a repository that the owner does not allow', { repository: '/etc' }, 'policy-repository'],
    ['a tenant that the owner does not serve', { tenant: 'strangers' }, 'policy-tenant'],
    ['a budget above the owner’s', { options: { budgetMicroUsd: 900_000_000 } }, 'policy-budget'],
  ])('gets a signed refusal for %s', (_, overrides, code) =>
    proves('FED-15', async () => {
      const { commandId } = await spawnAgent(mesh, 'quay', overrides);
      const command = await commandIn(mesh, commandId, 'FAILED');
      expect(command).toMatchObject({
        refusal: { code },
        receipts: [{ kind: 'refused', verified: true, result: { code } }],
      });
    })(),
  );

  it('ends as failed with a reason where the repository is missing', async () => {
    const { agentId } = await spawnAgent(mesh, 'quay', { repository: `${mesh.stateDir}/remotes/none.git` });
    expect((await agentIn(mesh, agentId, 'failed')).error).toMatchObject({ code: 'repository-missing' });
  });

  it('refuses a stranger without a token, on every route alike', async () => {
    for (const path of ['federation/agents', 'federation/connections', 'federation/commands/x']) {
      const response = await fetch(new URL(`/api/v1/${path}`, mesh.hub.url), {
        headers: { authorization: 'Bearer wrong' },
      });
      expect([path, response.status]).toEqual([path, 401]);
    }
  });
});
