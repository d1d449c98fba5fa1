import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { makeGroups, removeControlGroups } from '../cgroup/agent-groups.js';
import { findHierarchy } from '../cgroup/hierarchy.js';
import { thawLeftover, whileStill } from './standstill.js';

jest.setTimeout(60_000);

/** Only root makes control groups for certain, and not every host has those of v2. */
const withGroups = process.getuid?.() === 0 && findHierarchy().v2 !== undefined ? describe : describe.skip;

withGroups('a control group of v2', () => {
  let group: string;
  let child: ChildProcessByStdio<Writable, Readable, null>;

  beforeEach(() => {
    group = makeGroups({ agentId: `still-${randomUUID()}`, owner: 'standstill' }, {}, 'v2').main;
    expect(group).not.toBe('');
    child = spawn('/bin/sh', ['-c', 'while read -r line; do echo "$line"; done'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    writeFileSync(join(group, 'cgroup.procs'), String(child.pid));
  });
  afterEach(async () => {
    thawLeftover(group);
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await removeControlGroups(group);
  });

  const isStill = (): boolean => readFileSync(join(group, 'cgroup.events'), 'utf8').includes('frozen 1');
  const answer = async (): Promise<string> => {
    child.stdin.write('word\n');
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    return said.toString();
  };

  it('stands still while the work is done, and runs on afterwards', async () => {
    expect(await whileStill(group, 60_000, () => Promise.resolve(isStill()))).toEqual({ result: true, still: true });
    expect(await answer()).toBe('word\n');
  });

  it('runs on after work that fails', async () => {
    await expect(whileStill(group, 60_000, () => Promise.reject(new Error('it failed')))).rejects.toThrow('it failed');
    expect(await answer()).toBe('word\n');
  });

  it('stands still no longer than it may, whatever becomes of the work', async () => {
    // What is waited for comes only once it runs again.
    expect(await whileStill(group, 50, answer)).toEqual({ result: 'word\n', still: false });
  });

  it('is killed while it stands still', async () => {
    const { result } = await whileStill(group, 60_000, async () => {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      return exit;
    });
    expect(result).toEqual([null, 'SIGKILL']);
  });

  it('that somebody else has frozen stays so, until what he has left is thawed', async () => {
    writeFileSync(join(group, 'cgroup.freeze'), '1');
    expect(await whileStill(group, 60_000, () => Promise.resolve('done'))).toEqual({ result: 'done', still: true });
    expect(readFileSync(join(group, 'cgroup.freeze'), 'utf8').trim()).toBe('1');
    thawLeftover(group);
    expect(await answer()).toBe('word\n');
  });
});

describe('without a control group', () => {
  it('the work is done all the same, while everything runs', async () => {
    expect(await whileStill('', 60_000, () => Promise.resolve('done'))).toEqual({ result: 'done', still: false });
    thawLeftover('');
  });
});
