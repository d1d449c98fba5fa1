import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../../../../test/support/until.js';
import type { KillHandle } from '../kill/handle.js';
import { bootId, readProcess } from '../kill/process.js';
import type { SandboxSpec, SandboxWarning } from '../port.js';
import { DiskWatch, DiskWatcher } from './disk-watch.js';

jest.setTimeout(90_000);

const NOBODY: KillHandle = { driver: 'bubblewrap', bootId: bootId(), processes: [], pidNamespace: 0n, cgroup: '' };

describe('whoever runs sandboxes is told, with the agent’s id,', () => {
  let room: string;
  let told: SandboxWarning[];
  let watcher: DiskWatcher;
  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'capstan-disk-'));
    told = [];
    watcher = new DiskWatcher((warning) => void told.push(warning));
  });
  afterEach(() => {
    rmSync(room, { recursive: true });
  });

  it('that what an agent finds cannot be counted', async () => {
    const mounts: SandboxSpec['mounts'] = [{ source: join(room, 'gone'), target: '/room', mode: 'rw' }];
    const spec = { argv: [], env: {}, cwd: '/', uid: 1, gid: 1, network: 'none' } as const;
    const limits = { diskBytes: 1 };
    expect(await watcher.termsOf({ ...spec, argv: [], agentId: 'agent-one', mounts, limits })).toBeUndefined();
    expect(told).toEqual([{ agentId: 'agent-one', sentence: expect.stringContaining('not watched') as string }]);
  });

  it('that what an agent has cannot be counted, when that has failed three times', async () => {
    const terms = { directories: [join(room, 'gone')], bound: { bytes: 1, entries: 1 } };
    const watch = new DiskWatch(watcher, 'agent-one', terms, NOBODY);
    watch.begin();
    await until('it was told', () => told.length > 0, 60_000);
    expect(watch.end()).toEqual({});
    expect(told).toMatchObject([
      { agentId: 'agent-one', sentence: expect.stringContaining('cannot be counted') as string },
    ]);
  });

  it('once that an agent past its bound could not be ended, which is tried again until it is', async () => {
    await using stack = new AsyncDisposableStack();
    const child = spawn('/bin/sleep', ['1000'], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    stack.defer(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    await once(child, 'spawn');
    const process = readProcess(child.pid ?? 0);
    if (process === null) throw new Error('it does not run');
    // The file by which a control group is killed: nobody can write to it.
    const cgroup = join(room, 'group');
    mkdirSync(join(cgroup, 'cgroup.kill'), { recursive: true });
    const terms = { directories: [room], bound: { bytes: 0, entries: 0 } };
    let asked = 0;
    const handle: KillHandle = {
      ...NOBODY,
      // Of two the first is bubblewrap's launcher, which is ended whatever its namespace.
      processes: [process, process],
      get cgroup() {
        asked += 1;
        return cgroup;
      },
    };
    const watch = new DiskWatch(watcher, 'agent-one', terms, handle);
    watch.begin();
    stack.defer(() => void watch.end());
    await until('it was told', () => told.length > 0, 60_000);
    const askedBefore = asked;
    await until('it was tried again, and again', () => asked > askedBefore + 2, 60_000);
    expect(told).toMatchObject([{ agentId: 'agent-one', cause: { code: 'EISDIR' } }]);
    expect([child.exitCode, child.signalCode]).toEqual([null, null]);
    rmdirSync(join(cgroup, 'cgroup.kill'));
    expect(await ended).toEqual([null, 'SIGKILL']);
    expect(watch.end().overDisk).toMatchObject({ bound: { bytes: 0, entries: 0 } });
  });
});
