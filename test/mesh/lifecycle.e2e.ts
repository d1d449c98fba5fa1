import { statSync } from 'node:fs';
import { Mesh } from '@capstan/localmesh';
import type { AgentView } from '@capstan/protocol';
import { completed, receiptOf, spawnAgent } from '../support/agents.js';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';

jest.setTimeout(300_000);

describe('an agent from order to commit', () => {
  const repository = new TestRepository({
    'README.md': '# Harbour\n',
    'src/crane.ts': 'export const load = 3;\n',
    'src/quay.ts': 'export const berth = 1;\n',
    'docs/log.md': 'one\n',
  });
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['harbor', 'quay'], repository: repository.path });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  it(
    'maps the repository on the instance that was named, pushes a branch and signs the end',
    proves(['FED-05', 'ORC-105', 'ORC-107', 'ORC-110', 'OPS-01'], async () => {
      const order = await spawnAgent(mesh, 'quay');
      const spawned = await receiptOf(mesh, order.agentId, 'spawned');
      const finished = await receiptOf(mesh, order.agentId, 'finished');
      expect([spawned.verified, finished.verified]).toEqual([true, true]);

      const agent = await completed(mesh, order.agentId);
      expect(agent).toMatchObject({
        instance: 'quay',
        state: 'completed',
        error: null,
        harvest: { pushed: true, files: ['docs/REPOSITORY-MAP.md'] },
      });
      const remote = mesh.repository?.path ?? '';
      expect(git(remote, 'rev-parse', `refs/heads/${agent.harvest?.branch ?? ''}`)).toBe(agent.harvest?.commit);
      expect(git(remote, 'rev-parse', `${agent.harvest?.commit ?? ''}^`)).toBe(
        git(repository.path, 'rev-parse', 'HEAD'),
      );
    }),
  );

  it(
    'writes a map whose counts are those of git, for each repository its own',
    proves('ORC-110', async () => {
      using other = new TestRepository({
        'main.go': 'package main\n',
        'a/b.go': 'package a\n',
        'a/c.txt': 'x\n',
        'z.txt': 'y\n',
        LICENSE: 'free\n',
      });
      other.commit('Go on', { 'a/d.go': 'package a\n' });
      const remotes = [mesh.repository?.path ?? '', (await mesh.addRemote(other.path)).path];
      const maps = await Promise.all(
        remotes.map(async (repository, index) => {
          const { agentId } = await spawnAgent(mesh, index === 0 ? 'quay' : 'harbor', { repository });
          const { harvest } = await completed(mesh, agentId);
          return git(repository, 'show', `${harvest?.commit ?? 'missing'}:docs/REPOSITORY-MAP.md`);
        }),
      );
      for (const [index, map] of maps.entries()) {
        const remote = remotes[index] ?? '';
        const files = git(remote, 'ls-tree', '-r', '--name-only', 'main').split('\n').length;
        const commits = git(remote, 'rev-list', '--count', 'main');
        expect(map).toMatch(new RegExp(`\\b${String(files)}\\b`));
        expect(map).toMatch(new RegExp(`\\b${commits}\\b`));
      }
      expect(maps[0]).not.toEqual(maps[1]);
    }),
  );

  it(
    'never writes to the checkout it was given',
    proves('ORC-111', async () => {
      const before = [
        git(repository.path, 'status', '--porcelain'),
        git(repository.path, 'for-each-ref'),
        statSync(`${repository.path}/.git`).mtimeMs,
      ];
      const { agentId } = await spawnAgent(mesh, 'harbor');
      await completed(mesh, agentId);
      expect([
        git(repository.path, 'status', '--porcelain'),
        git(repository.path, 'for-each-ref'),
        statSync(`${repository.path}/.git`).mtimeMs,
      ]).toEqual(before);
      const worktrees = git(mesh.repository?.path ?? '', 'worktree', 'list').split('\n');
      expect(worktrees).toHaveLength(1);
    }),
  );

  it(
    'answers agent.status with a receipt that the instance signed for this very command',
    proves(['FED-05', 'ORC-130', 'ORC-135'], async () => {
      const { agentId } = await spawnAgent(mesh, 'quay');
      await completed(mesh, agentId);
      const { agent, receipt } = await mesh.client.status(agentId);
      expect(agent).toMatchObject({ agentId, state: 'completed' });
      expect(receipt).toMatchObject({ kind: 'status', verified: true });
      expect(receipt.result as AgentView).toMatchObject({ agentId, state: 'completed' });
    }),
  );

  it(
    'meters what the agent asked of the model',
    proves('ORC-L3', async () => {
      const { agentId } = await spawnAgent(mesh, 'quay');
      const { usage } = await completed(mesh, agentId);
      expect(usage.requests).toBeGreaterThanOrEqual(2);
      expect(usage.inputTokens).toBeGreaterThan(0);
      expect(usage.outputTokens).toBeGreaterThan(0);
    }),
  );

  it(
    'shows the log of an agent, line by line, without control characters',
    proves('CLI-01', async () => {
      const { agentId } = await spawnAgent(mesh, 'quay');
      await completed(mesh, agentId);
      const page = await mesh.client.logs(agentId);
      expect(page.lines.length).toBeGreaterThan(2);
      for (const line of page.lines) expect(line.text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
    }),
  );
});
