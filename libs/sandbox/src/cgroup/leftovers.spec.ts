import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { bundle } from '../../../../test/support/bundle.js';
import { until } from '../../../../test/support/until.js';
import { BubblewrapDriver } from '../bubblewrap/driver.js';
import { groupMembers } from '../kill/control-group.js';
import { isGone } from '../kill/handle.js';
import type { PreparedSandbox, SandboxSpec } from '../port.js';
import { groupsOf } from './agent-groups.js';
import { removeLeftovers } from './leftovers.js';

const IDS = { uid: process.getuid?.() || 234_569, gid: process.getgid?.() || 234_569 };
const TRIES = 24;
const EVERY_MS = 1.5;

const specOf = (agentId: string): SandboxSpec => ({
  agentId,
  argv: ['/bin/sh', '-c', 'trap "" TERM; (setsid sleep 1000 &); sleep 1000'],
  env: { PATH: '/usr/bin:/bin' },
  cwd: '/',
  ...IDS,
  mounts: [],
  limits: { memoryBytes: 64 << 20, pids: 32 },
  network: 'none',
});

/** Control groups are what leftovers are found by, and elsewhere there may be none to make. */
const asRoot = process.getuid?.() === 0 ? describe : describe.skip;

const livingIn = (groups: readonly string[]): number[] => groups.flatMap((group) => groupMembers(group));

asRoot('what an orchestrator that died left', () => {
  const owner = `/instance/${randomUUID()}`;
  const driver = new BubblewrapDriver({ owner });
  const agentId = `left-${randomUUID()}`;
  let sandboxes: PreparedSandbox[];

  beforeEach(async () => {
    const neighbour = new BubblewrapDriver({ owner: `${owner}-2` });
    sandboxes = [
      await driver.prepare(specOf(agentId)),
      await driver.prepare(specOf(agentId)),
      await neighbour.prepare(specOf(agentId)),
      await driver.prepare(specOf(`${agentId}-2`)),
    ];
    for (const { stdout, stderr } of sandboxes) [stdout, stderr].forEach((stream) => stream.resume());
  });
  afterEach(async () => {
    for (const id of [agentId, `${agentId}-2`]) {
      for (const each of [owner, `${owner}-2`]) await removeLeftovers({ agentId: id, owner: each });
    }
    await Promise.all(sandboxes.map(({ exited }) => exited));
  });

  it('is ended and removed, every sandbox of the agent, whether it waits for GO or runs', async () => {
    const [waiting, running] = sandboxes;
    await running?.go();
    const groups = groupsOf({ agentId, owner });
    expect(livingIn(groups).length).toBeGreaterThan(3);
    const found = await driver.removeLeftovers(agentId);
    for (const { handle } of [waiting, running].filter((it) => it !== undefined)) {
      expect(found).toEqual(expect.arrayContaining(handle.processes.map(({ pid }) => pid)));
      expect(isGone(handle)).toBe(true);
    }
    expect(groups.filter((group) => existsSync(group))).toEqual([]);
    expect(await driver.removeLeftovers(agentId)).toEqual([]);
  });

  it('is not another agent’s, nor that of another owner who knows an agent by the same id', async () => {
    await driver.removeLeftovers(agentId);
    expect(sandboxes.map(({ handle }) => isGone(handle))).toEqual([true, true, false, false]);
  });
});

asRoot('the death of a process that starts a sandbox', () => {
  // Once bubblewrap's init waited for ever for a launcher that had died of its parent's death.
  it('leaves no process, whatever instant it comes at', async () => {
    const room = mkdtempSync(join(tmpdir(), 'capstan-leftovers-'));
    const program = await bundle('test/support/launch-and-wait.ts', join(room, 'launch.mjs'));
    try {
      for (let attempt = 0; attempt < TRIES; attempt += 1) {
        const whose = { agentId: `dies-${randomUUID()}`, owner: '' };
        const parent = spawn(process.execPath, [program, 'WAIT', JSON.stringify(specOf(whose.agentId))], {
          stdio: ['ignore', 'ignore', 'inherit'],
        });
        const ended = once(parent, 'exit');
        // The groups are made just before the launch.
        while (groupsOf(whose).length === 0) await new Promise((resolve) => setImmediate(resolve));
        await delay(attempt * EVERY_MS);
        parent.kill('SIGKILL');
        await ended;
        try {
          await until('nothing is left', () => livingIn(groupsOf(whose)).length === 0, 5_000);
        } finally {
          await removeLeftovers(whose);
        }
      }
    } finally {
      rmSync(room, { recursive: true });
    }
  }, 60_000);
});
