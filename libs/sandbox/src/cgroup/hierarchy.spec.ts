import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findHierarchy } from './hierarchy.js';

describe('where control groups are made', () => {
  let root: string;
  beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'capstan-hierarchy-'))));
  afterEach(() => rmSync(root, { recursive: true }));

  const group = (path: string, handsDown = ''): string => {
    const directory = join(root, path);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'cgroup.procs'), '');
    writeFileSync(join(directory, 'cgroup.subtree_control'), handsDown);
    return directory;
  };
  const v2 = (shown = '/') => `30 23 0:26 ${shown} ${root} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate`;
  const v1 = (controller: string) => `31 23 0:27 / ${join(root, controller)} rw - cgroup cgroup rw,${controller}`;

  it('is the root of a pure v2 hierarchy for a process that is there', () => {
    const top = group('');
    expect(findHierarchy({ mountinfo: v2(), membership: '0::/\n' })).toEqual({ limits: {}, v2: top });
  });

  it('is beside our own v2 group where the parent hands controllers down', () => {
    const slice = group('system.slice', 'cpu memory pids');
    group('system.slice/capstan.service');
    const membership = '0::/system.slice/capstan.service\n';
    expect(findHierarchy({ mountinfo: v2(), membership }).v2).toBe(slice);
  });

  it('is below our own v2 group elsewhere: frozen and killed, if not limited', () => {
    group('job');
    const own = group('job/step');
    expect(findHierarchy({ mountinfo: v2(), membership: '0::/job/step\n' }).v2).toBe(own);
  });

  it('is below our own group of each v1 controller, and v2 may be there too', () => {
    const places = ['freezer', 'memory/job', 'pids', 'cpu'].map((path) => group(path));
    const mountinfo = ['freezer', 'memory', 'pids', 'cpu'].map(v1).join('\n');
    const membership = '4:memory:/job\n3:pids:/\n2:freezer:/\n1:cpu:/\n';
    expect(findHierarchy({ mountinfo, membership })).toEqual({
      freezer: places[0],
      limits: { memory: places[1], pids: places[2], cpu: places[3] },
    });
  });

  it('follows a mount that shows only the part of a container', () => {
    const top = group('');
    const found = findHierarchy({ mountinfo: v2('/docker/abc'), membership: '0::/docker/abc\n' });
    expect(found.v2).toBe(top);
  });

  it('is nowhere without control groups', () => {
    expect(findHierarchy({ mountinfo: '22 1 0:20 / /proc rw - proc proc rw', membership: '' })).toEqual({ limits: {} });
  });
});
