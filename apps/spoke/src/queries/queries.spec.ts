import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type AgentPage, type InstanceCatalog, newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../test/processes.js';
import { standInLine } from '../../test/stand-in-orchestrator.js';
import { POLICY, TestInstance } from '../../test/test-instance.js';
import type { StandInHub } from '../../test/stand-in-hub.js';

jest.setTimeout(60_000);

let instance: TestInstance;
let hub: StandInHub;
beforeAll(async () => {
  instance = await TestInstance.start();
  ({ hub } = instance);
});
afterAll(() => instance[Symbol.asyncDispose]());

type Body = Parameters<StandInHub['ask']>[0];

async function answerTo(body: Body, kind: string): Promise<unknown> {
  const query = hub.ask(body);
  await hub.send(query);
  return (await instance.receipt(query, kind)).receipt.result.value;
}

/** An agent that runs, and the lines that its log holds. */
async function agent(...sequences: number[]): Promise<string> {
  const agentId = `agent-${newId()}`;
  instance.orchestrator.logs.set(
    agentId,
    sequences.map((sequence) => standInLine(sequence, `line ${String(sequence)}`)),
  );
  const spawn = instance.spawn({ agentId });
  await hub.send(spawn);
  await instance.receipt(spawn, 'spawned');
  return agentId;
}

function watch(agentId: string, over: { watchId?: string; after?: bigint; leaseMs?: number } = {}): Body {
  return { case: 'watch', value: { agentId, watchId: `watch-${agentId.slice(6)}`, leaseMs: 30_000, ...over } };
}

const told = (agentId: string): number[] =>
  hub.lines
    .filter((each) => each.agentId === agentId)
    .flatMap(({ page }) => page?.lines.map(({ sequence }) => Number(sequence)) ?? []);

test(
  'the catalog is the owner’s policy of this moment',
  proves('FED-17', async () => {
    expect(await answerTo({ case: 'catalog', value: {} }, 'catalog')).toMatchObject({
      runtimes: ['claude'],
      sandboxes: ['bubblewrap'],
      repositories: ['/srv/repo', 'https://git.example/team/*'],
      tenants: ['default'],
      concurrency: 4,
      budgetMicroUsd: 1_000_000n,
      timeoutMs: 3_600_000n,
    });
    await writeFile(join(instance.dir, 'policy.yaml'), POLICY.replace('concurrency: 4', 'concurrency: 7'));
    expect(((await answerTo({ case: 'catalog', value: {} }, 'catalog')) as InstanceCatalog).concurrency).toBe(7);
    await writeFile(join(instance.dir, 'policy.yaml'), POLICY);
  }),
);

test(
  'the catalog names of the owner’s sandboxes those that work at the orchestrator, and all where that does not say',
  proves('ORC-106', async () => {
    const ask = async (): Promise<string[]> =>
      ((await answerTo({ case: 'catalog', value: {} }, 'catalog')) as InstanceCatalog).sandboxes;
    const both = POLICY.replace('sandboxes: [bubblewrap]', 'sandboxes: [docker, bubblewrap]');
    await writeFile(join(instance.dir, 'policy.yaml'), both);
    const states = (docker: boolean): object[] => [
      { name: 'docker', available: docker },
      { name: 'bubblewrap', available: true },
      { name: 'other', available: true },
    ];
    instance.orchestrator.sandboxes = states(false);
    expect(await ask()).toEqual(['bubblewrap']);
    instance.orchestrator.sandboxes = states(true);
    expect(await ask()).toEqual(['docker', 'bubblewrap']);
    instance.orchestrator.sandboxes = { code: 'internal' };
    expect(await ask()).toEqual(['docker', 'bubblewrap']);
    instance.orchestrator.sandboxes = states(true);
    await writeFile(join(instance.dir, 'policy.yaml'), POLICY);
  }),
);

test(
  'the agents come by pages, the newest first, each once',
  proves('FED-17', async () => {
    const ids = [await agent(1), await agent(1), await agent(1)];
    const seen: string[] = [];
    let after = '';
    do {
      const page = (await answerTo({ case: 'agents', value: { after, limit: 2 } }, 'agents')) as AgentPage;
      expect(page.agents.length).toBeLessThanOrEqual(2);
      seen.push(...page.agents.map(({ agentId }) => agentId));
      after = page.next;
    } while (after !== '');
    expect(seen.slice(0, 3)).toEqual(ids.reverse());
    expect(new Set(seen).size).toBe(seen.length);
    expect(await answerTo({ case: 'agents', value: { after: '../x' } }, 'refused')).toMatchObject({
      code: 'id-malformed',
    });
  }),
);

describe('a watch of a log', () => {
  test(
    'tells what the log holds and what comes to it, in order, until it is ended',
    proves('FED-17', async () => {
      const agentId = await agent(1, 2, 3);
      expect(await answerTo(watch(agentId, { after: 1n }), 'logs')).toMatchObject({ lines: [], next: 1n });
      await until(() => told(agentId).length === 2);
      instance.orchestrator.logs.get(agentId)?.push(standInLine(4), standInLine(5));
      await until(() => told(agentId).length === 4);
      expect(told(agentId)).toEqual([2, 3, 4, 5]);
      await answerTo(watch(agentId, { leaseMs: 0 }), 'logs');
      instance.orchestrator.logs.get(agentId)?.push(standInLine(6));
      const next = await agent(1);
      await answerTo(watch(next), 'logs');
      await until(() => told(next).length === 1);
      expect(told(agentId)).toEqual([2, 3, 4, 5]);
    }),
  );

  test('marks what the orchestrator has dropped', async () => {
    const agentId = await agent(7, 8);
    await answerTo(watch(agentId, { after: 2n }), 'logs');
    await until(() => told(agentId).length === 2);
    expect(hub.lines.find((each) => each.agentId === agentId)?.page).toMatchObject({ gap: true, next: 8n });
  });

  test('goes on only while its time is renewed', async () => {
    const agentId = await agent(1);
    await answerTo(watch(agentId, { leaseMs: 300 }), 'logs');
    await until(() => told(agentId).length === 1);
    await answerTo(watch(agentId, { leaseMs: 30_000, after: 0n }), 'logs');
    instance.orchestrator.logs.get(agentId)?.push(standInLine(2));
    await until(() => told(agentId).length === 2);
    // Renewed, not begun anew.
    expect(told(agentId)).toEqual([1, 2]);
  });

  test('waits with no more than four events that the hub has not answered, and then goes on', async () => {
    const agentId = await agent(...Array.from({ length: 9_000 }, (_, at) => at + 1));
    hub.acknowledges = false;
    await answerTo(watch(agentId), 'logs');
    await until(() => told(agentId).length === 4_000);
    // What the spoke could have sent meanwhile has come before the answer to this question.
    await answerTo({ case: 'catalog', value: {} }, 'catalog');
    expect(told(agentId)).toHaveLength(4_000);
    hub.acknowledges = true;
    await answerTo(watch(agentId, { leaseMs: 0 }), 'logs');
  });

  test(
    '20 MB come whole and in order, in bounded batches',
    proves('FED-17', async () => {
      const lines = 4_000;
      const text = 'x'.repeat(5_000);
      const agentId = await agent(1);
      instance.orchestrator.logs.set(
        agentId,
        Array.from({ length: lines }, (_, at) => standInLine(at + 1, text)),
      );
      await answerTo(watch(agentId), 'logs');
      await until(() => told(agentId).length === lines);
      expect(told(agentId)).toEqual(Array.from({ length: lines }, (_, at) => at + 1));
      const pages = hub.lines.filter((each) => each.agentId === agentId).map(({ page }) => page?.lines.length ?? 0);
      // Bounded batches, each signed once.
      expect(Math.max(...pages)).toBeLessThan(50);
      expect(pages.length).toBeLessThan(lines / 10);
      await answerTo(watch(agentId, { leaseMs: 0 }), 'logs');
    }),
  );

  test('ends with its link', async () => {
    const agentId = await agent(1);
    await answerTo(watch(agentId), 'logs');
    await until(() => told(agentId).length === 1);
    const links = hub.links.length;
    await (await hub.link()).close('closed', 'a test');
    await hub.link(links);
    instance.orchestrator.logs.get(agentId)?.push(standInLine(2));
    await answerTo(watch(agentId, { after: 1n }), 'logs');
    await until(() => told(agentId).length === 2);
    expect(told(agentId)).toEqual([1, 2]);
  });

  test('of an unknown agent, or with an id that is none, is refused', async () => {
    expect(await answerTo(watch('agent-nobody'), 'refused')).toMatchObject({ code: 'agent-unknown' });
    const malformed = hub.ask(watch(await agent(1), { watchId: '../x' }));
    const digest = await hub.send(malformed);
    expect(await until(() => hub.rejected.find((each) => each.digest === digest))).toMatchObject({
      code: 'id-malformed',
    });
  });
});
