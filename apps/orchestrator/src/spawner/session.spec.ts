import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentId, newId, taskId, tenantId } from '@capstan/protocol';
import { Sessions } from './session.js';
import type { SessionRecord } from './session-record.js';

describe('what is noted of an agent on disk', () => {
  let room: string;
  let sessions: Sessions;
  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'capstan-sessions-'));
    sessions = new Sessions(join(room, 'agents'), undefined);
  });
  afterEach(() => rmSync(room, { recursive: true }));

  type Left = Required<Pick<SessionRecord, 'agentId' | 'uid' | 'gid' | 'worktree'>>;

  async function left(): Promise<{ record: Left; directory: string; work: string }> {
    const id = agentId(newId());
    const { directory, uid, gid } = await sessions.open(id);
    const dir = join(directory, 'tree');
    mkdirSync(dir);
    writeFileSync(join(dir, 'half.md'), 'half of it');
    const worktree = {
      agentId: id,
      taskId: taskId(newId()),
      dir,
      adminDir: join(room, 'admin'),
      commit: '0'.repeat(40),
    };
    const record = { agentId: id, uid, gid, worktree };
    await sessions.remember(record);
    return { record, directory, work: join(dir, 'half.md') };
  }

  it('is recalled', async () => {
    const { record, work } = await left();
    expect(await sessions.recall(record.agentId)).toEqual(record);
    expect(await sessions.recallAll()).toEqual([record]);
    expect(await sessions.removeUnknown()).toEqual({ removed: [], kept: [] });
    expect(existsSync(work)).toBe(true);
  });

  // Once a power cut that left an empty session.json cost the work as well.
  it.each([
    ['torn', '{"agentId":"wr'],
    ['empty', ''],
    ['no record', 'null'],
    ['a list', '[]'],
  ])('keeps the work tree where it is %s', async (_name, text) => {
    const { record, directory, work } = await left();
    writeFileSync(join(directory, 'session.json'), text);
    expect(await sessions.removeUnknown()).toEqual({ removed: [], kept: [directory] });
    await expect(sessions.recall(record.agentId)).rejects.toMatchObject({ code: 'session-unreadable' });
    expect(await sessions.recallAll()).toEqual([]);
    expect(existsSync(work)).toBe(true);
  });

  it('is recalled with all that may be noted, and with what a later version notes', async () => {
    const { record } = await left();
    const rest: Required<Omit<SessionRecord, keyof typeof record>> = {
      targetRef: 'refs/remotes/origin/main',
      tenant: tenantId('default'),
      repository: '/srv/repository',
      program: 'acp',
      earlierTrees: { ['1'.repeat(40)]: '2'.repeat(40) },
      stand: { onto: '1'.repeat(40), by: 'merge' },
      submissions: 3,
      refused: { code: 'merge-conflict', sentence: 'It conflicts.' },
      trialBytes: 0,
      cgroup: '',
      pushing: { branch: 'capstan/task', commit: '1'.repeat(40) },
      kept: { at: new Date().toISOString(), why: 'its repository is gone' },
    };
    const all = { ...record, ...rest, later: 1 };
    await sessions.remember(all);
    expect(await sessions.recall(record.agentId)).toEqual(all);
  });

  it.each<[string, unknown]>([
    ['agentId', '../other'],
    ['uid', -1],
    ['gid', '1'],
    ['worktree', { taskId: 'task' }],
    ['worktree', 'tree'],
    ['targetRef', 1],
    ['tenant', 'A'],
    ['repository', {}],
    ['program', 'shell'],
    ['earlierTrees', { one: 1 }],
    ['stand', { by: 'force' }],
    ['submissions', 1.5],
    ['refused', { code: 'x' }],
    ['trialBytes', null],
    ['cgroup', 0],
    ['pushing', { branch: 'x' }],
    ['kept', { why: 'x' }],
  ])('is not recalled where its %s is no such thing: %j', async (name, value) => {
    const { record, directory, work } = await left();
    writeFileSync(join(directory, 'session.json'), JSON.stringify({ ...record, [name]: value }));
    await expect(sessions.recall(record.agentId)).rejects.toMatchObject({ code: 'session-unreadable' });
    expect(existsSync(work)).toBe(true);
  });

  it('is not recalled where its work tree has no whole path', async () => {
    const { record, directory } = await left();
    const worktree = { ...record.worktree, dir: 'tree' };
    writeFileSync(join(directory, 'session.json'), JSON.stringify({ ...record, worktree }));
    await expect(sessions.recall(record.agentId)).rejects.toMatchObject({ code: 'session-unreadable' });
  });

  it('keeps a work tree of which nothing is noted', async () => {
    const { directory, work } = await left();
    rmSync(join(directory, 'session.json'));
    expect(await sessions.removeUnknown()).toEqual({ removed: [], kept: [directory] });
    expect(existsSync(work)).toBe(true);
  });

  it('removes a directory that holds nothing', async () => {
    const { directory } = await sessions.open(agentId(newId()));
    writeFileSync(join(directory, 'session.json.new'), '{');
    expect(await sessions.removeUnknown()).toEqual({ removed: [directory], kept: [] });
    expect(existsSync(directory)).toBe(false);
  });
});
