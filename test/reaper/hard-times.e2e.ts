import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { create, newId, RegisterSchema } from '@capstan/protocol';
import { isGone, removeControlGroups, type KillHandle } from '@capstan/sandbox';
import { bundle } from '../support/bundle.js';
import { proves } from '../support/proves.js';
import { ReaperProcess } from '../support/reaper-process.js';
import { Sandboxes, until } from '../support/sandboxes.js';

describe('the death of the process that started an agent', () => {
  it(
    'takes the agent with it, before GO and after it',
    proves('ORC-117', async () => {
      await using sandboxes = new Sandboxes();
      const program = await bundle('test/support/launch-and-wait.ts', join(sandboxes.room, 'launch.mjs'));
      for (const word of ['GO', 'WAIT']) {
        const owner = spawn(process.execPath, [program, word, JSON.stringify(sandboxes.spec())], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const [line] = (await once(createInterface(owner.stdout), 'line')) as [string];
        const parsed = JSON.parse(line) as {
          bootId: string;
          cgroup: string;
          pidNamespace: string;
          processes: { pid: number; startTicks: string }[];
        };
        const handle: KillHandle = {
          ...parsed,
          driver: 'bubblewrap',
          pidNamespace: BigInt(parsed.pidNamespace),
          processes: parsed.processes.map(({ pid, startTicks }) => ({ pid, startTicks: BigInt(startTicks) })),
        };
        expect(isGone(handle)).toBe(false);
        owner.kill('SIGKILL');
        await once(owner, 'exit');
        await until(() => isGone(handle));
        await removeControlGroups(handle.cgroup);
      }
    }),
  );
});

const asRoot = process.getuid?.() === 0 ? describe : describe.skip;

asRoot('a full disk (root, for a file system of its own)', () => {
  it(
    'stops no kill: the register has its room since it was made',
    proves('ORC-117', async () => {
      await using sandboxes = new Sandboxes();
      const disk = mkdtempSync(join(tmpdir(), 'capstan-disk-'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', disk]);
      const reaper = await ReaperProcess.create('harbor', disk);
      try {
        expect(await reaper.start()).toBe('reaper-ready');
        const sandbox = await sandboxes.prepare();
        const { agentId, handle } = sandbox;
        await fill(join(disk, 'ballast'));
        expect(await reaper.client.register(create(RegisterSchema, { agentId, tenant: 'default', handle }))).toEqual({
          ok: true,
        });
        await sandbox.go();
        const command = { issuer: 'hub', id: newId(), digest: new Uint8Array(32) };
        const first = await reaper.client.kill({ agentId, command, timeoutMs: 5000 });
        expect(first.outcome).toBe('killed');
        expect(isGone(handle)).toBe(true);
        await reaper.stop('SIGKILL');
        expect(await reaper.start()).toBe('reaper-ready');
        expect(await reaper.client.kill({ agentId, command, timeoutMs: 5000 })).toEqual(first);
      } finally {
        await reaper[Symbol.asyncDispose]();
        execFileSync('umount', [disk]);
        rmSync(disk, { recursive: true });
      }
    }),
  );
});

/** Writes until the disk takes no more. */
async function fill(file: string): Promise<void> {
  const stream = createWriteStream(file);
  const full = once(stream, 'error');
  const block = Buffer.alloc(1024 * 1024);
  const write = () => void stream.write(block, (error) => (error ? undefined : write()));
  write();
  const [error] = (await full) as [{ code: string }];
  expect(error.code).toBe('ENOSPC');
}
