import {
  chmodSync,
  chownSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeValkey, connectValkey, createLogger } from '@capstan/platform';
import { agentId, newId, taskId, tenantId } from '@capstan/protocol';
import { BubblewrapDriver, isGone } from '@capstan/sandbox';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { startTestValkey } from '../../../../test/support/test-valkey.js';
import { RepositoryStore } from '../git/index.js';
import { AgentStore } from '../valkey/agent.store.js';
import { Cleanup } from './cleanup.service.js';
import { Sessions } from './session.js';
import type { SpawnPlan } from './spawn-plan.js';
import { Turns } from './turns.js';

const logger = createLogger('test', { level: 'silent' });
const isRoot = process.getuid?.() === 0;
const turns = new Turns(1);
const { signal } = new AbortController();

function planFor(repository: string): SpawnPlan {
  return {
    agentId: agentId(newId()),
    taskId: taskId(newId()),
    tenant: tenantId('default'),
    role: 'worker',
    runtime: 'claude',
    repository,
    branch: '',
    workItems: [],
    skills: [],
    sandbox: 'bubblewrap',
    timeoutMs: 1000,
    budgetMicroUsd: 1,
    maxRetries: 0,
    priority: 5,
    model: '',
    playbook: '',
    killAfterMs: 0,
    killEpochs: [],
  };
}

function ownedFile(path: string, uid: number, gid: number): string {
  writeFileSync(path, '');
  if (isRoot) chownSync(path, uid, gid);
  return path;
}

describe('what an orchestrator that was killed left of an agent', () => {
  // Once a sandbox that was being launched stayed for ever, and salvage waited for a source that was away.
  it('is ended, saved and removed with nobody’s help, the source’s included', async () => {
    await using stack = new AsyncDisposableStack();
    const valkey = stack.adopt(await startTestValkey(), (it) => it.stop());
    const client = stack.adopt(await connectValkey(valkey.url), closeValkey);
    const source = stack.use(new TestRepository());
    const root = stack.adopt(mkdtempSync(join(tmpdir(), 'capstan-cleanup-')), (it) => rmSync(it, { recursive: true }));
    chmodSync(root, 0o711);
    const directory = join(root, 'agents');
    const sessionsOf = (): Sessions => new Sessions(directory, isRoot ? 234_600 : undefined);
    const repositoriesOf = (): RepositoryStore => new RepositoryStore({ root: join(root, 'repositories') });
    const driver = new BubblewrapDriver({ owner: directory });
    const store = new AgentStore(client);
    const plan = planFor(source.path);
    const { agentId: id, taskId: task } = plan;
    await store.create(plan, 'digest', 10);
    await store.claim(id);
    await store.change(id, { state: 'failed' });

    // As far as the one that died had come.
    const sessions = sessionsOf();
    const { uid, gid, directory: parent } = await sessions.open(id);
    const repository = await repositoriesOf().open(plan.tenant, plan.repository);
    const { commit } = await repository.resolveBranch('');
    const worktree = await repository.addWorktree({ agentId: id, taskId: task, commit, uid, gid, parent });
    const { mounts: _mounts, ...record } = worktree;
    await sessions.remember({ agentId: id, uid, gid, worktree: record });
    const sandbox = await driver.prepare({
      agentId: id,
      argv: ['/bin/sh', '-c', 'echo half > part; mv part half; exec sleep 1000'],
      env: { PATH: '/usr/bin:/bin' },
      cwd: '/workspace',
      ...{ uid, gid, limits: {}, network: 'none' },
      mounts: [{ source: worktree.dir, target: '/workspace', mode: 'rw' }],
    });
    await sandbox.go();
    while (!readdirSync(worktree.dir).includes('half')) await new Promise((resolve) => setImmediate(resolve));
    renameSync(source.path, `${source.path}.away`);
    stack.defer(() => renameSync(`${source.path}.away`, source.path));

    const parts = { driver, sessions: sessionsOf(), repositories: repositoriesOf(), store, turns, logger, signal };
    await new Cleanup(parts).finishLeft(id);

    // Without control groups there is nothing to find it by.
    if (sandbox.handle.cgroup !== '') expect(isGone(sandbox.handle)).toBe(true);
    const kept = repository.dir.replace(/git$/, 'salvage');
    expect(git(kept, 'show', `refs/capstan/salvage/${id}:half`)).toBe('half');
    expect(readdirSync(directory)).toEqual([]);
    expect(readdirSync(join(repository.dir, 'worktrees'))).toEqual([]);
    expect(await store.untidy()).toEqual([]);
    await sandbox.exited;
  }, 30_000);

  // It was removed: what could not be saved at once was called settled.
  it('stays where it cannot be saved, with a note of why, until it is gone by its owner’s hand', async () => {
    await using stack = new AsyncDisposableStack();
    const valkey = stack.adopt(await startTestValkey(), (it) => it.stop());
    const client = stack.adopt(await connectValkey(valkey.url), closeValkey);
    const source = stack.use(new TestRepository());
    const root = stack.adopt(mkdtempSync(join(tmpdir(), 'capstan-cleanup-')), (it) => rmSync(it, { recursive: true }));
    chmodSync(root, 0o711);
    const directory = join(root, 'agents');
    const sessions = new Sessions(directory, isRoot ? 234_600 : undefined);
    const repositories = new RepositoryStore({ root: join(root, 'repositories') });
    const store = new AgentStore(client);
    const plan = planFor(source.path);
    const { agentId: id, taskId: task } = plan;
    await store.create(plan, 'digest', 10);
    await store.claim(id);
    await store.change(id, { state: 'failed' });
    const { uid, gid, directory: parent } = await sessions.open(id);
    const repository = await repositories.open(plan.tenant, plan.repository);
    const { commit } = await repository.resolveBranch('');
    const worktree = await repository.addWorktree({ agentId: id, taskId: task, commit, uid, gid, parent });
    const { mounts: _mounts, ...record } = worktree;
    await sessions.remember({ agentId: id, uid, gid, worktree: record });
    // Larger than what git may be given; it has no blocks on the disk.
    truncateSync(ownedFile(join(worktree.dir, 'large'), uid, gid), 101 * 1024 * 1024);

    const driver = new BubblewrapDriver({ owner: directory });
    const parts = { driver, sessions, repositories, store, turns, logger, signal };
    const cleanup = new Cleanup(parts);
    for (let round = 0; round < 2; round += 1) {
      await expect(cleanup.finishLeft(id)).rejects.toMatchObject({ code: 'not-saved' });
      expect(readdirSync(worktree.dir)).toContain('large');
    }
    expect(await sessions.recall(id)).toMatchObject({ kept: { why: expect.stringContaining('large') } });
    expect(await store.untidy()).toEqual([id]);

    rmSync(worktree.dir, { recursive: true });
    await new Cleanup(parts).finishLeft(id);
    expect(readdirSync(directory)).toEqual([]);
    expect(await store.untidy()).toEqual([]);
  }, 60_000);
});
