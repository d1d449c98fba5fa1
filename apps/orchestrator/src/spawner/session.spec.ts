import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentId, newId, taskId } from '@capstan/protocol';
import { Sessions, type SessionRecord } from './session.js';

describe('what is noted of an agent on disk', () => {
  let room: string;
  let sessions: Sessions;
  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'capstan-sessions-'));
    sessions = new Sessions(join(room, 'agents'), undefined);
  });
  afterEach(() => rmSync(room, { recursive: true }));

  async function left(): Promise<{ record: SessionRecord; directory: string; work: string }> {
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
  ])('keeps the work tree where it is %s', async (_name, text) => {
    const { record, directory, work } = await left();
    writeFileSync(join(directory, 'session.json'), text);
    expect(await sessions.removeUnknown()).toEqual({ removed: [], kept: [directory] });
    await expect(sessions.recall(record.agentId)).rejects.toMatchObject({ code: 'session-unreadable' });
    expect(await sessions.recallAll()).toEqual([]);
    expect(existsSync(work)).toBe(true);
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
