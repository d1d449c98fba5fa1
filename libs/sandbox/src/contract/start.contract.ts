import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { isGone, members, waitGone } from '../kill/handle.js';
import type { ContractRoom } from './room.js';
import { largeEnvironment, sequence } from './support.js';

/** How an agent starts, what it is given, and what it says. */
export function startContract(room: ContractRoom): void {
  describe('start', () => {
    it('runs nothing of the agent before GO, and everything after it', async () => {
      const sandbox = await room.prepare('echo ran > ran');
      expect(members(sandbox.handle).length).toBeGreaterThan(0);
      await delay(30);
      expect(existsSync(join(room.path, 'ran'))).toBe(false);
      await sandbox.go();
      expect(await sandbox.exited).toEqual({ exitCode: 0, signal: null, outOfMemory: false });
      expect(readFileSync(join(room.path, 'ran'), 'utf8')).toBe('ran\n');
    });

    it('starts nothing at the end of file of the gate', async () => {
      const sandbox = await room.prepare('echo ran > ran');
      await sandbox.abort();
      expect((await sandbox.exited).exitCode).not.toBe(0);
      expect(isGone(sandbox.handle)).toBe(true);
      expect(existsSync(join(room.path, 'ran'))).toBe(false);
      await expect(sandbox.go()).rejects.toMatchObject({ code: 'sandbox-gone' });
    });

    it('starts nothing when the launcher dies between creation and GO', async () => {
      const sandbox = await room.prepare('echo ran > ran');
      process.kill(sandbox.handle.processes[0]?.pid ?? NaN, 'SIGKILL');
      await sandbox.exited;
      expect(await waitGone(sandbox.handle, 5000)).toBe(true);
      await expect(sandbox.go()).rejects.toMatchObject({ code: 'sandbox-gone' });
      expect(existsSync(join(room.path, 'ran'))).toBe(false);
    });

    it('hands through the exit code and both outputs, and no input', async () => {
      const said = { said: 'out\n', complained: 'err\n', exit: { exitCode: 7 } };
      expect(await room.run('echo out; echo err >&2; exit 7')).toMatchObject(said);
      expect((await room.run('read -r line; echo "$line"')).said).toBe('\n');
    });

    // Once the work of agents was lost on a busy machine: Node throws away what a child has said before anybody listens.
    it('keeps what was said before anybody listened, though the agent has ended', async () => {
      const sandbox = await room.prepare('echo one; echo two >&2');
      await sandbox.go();
      await sandbox.exited;
      await waitGone(sandbox.handle, 5000);
      expect([await text(sandbox.stdout), await text(sandbox.stderr)]).toEqual(['one\n', 'two\n']);
    });

    it('gives the environment to the agent as it is, whatever is in it', async () => {
      const value = `it's "quoted" $(echo run) \`echo run\` \\ \n$HOME  two`;
      const { said } = await room.run('printf "%s|" "$ODD"; unset ODD; env | cut -d= -f1 | sort | tr "\\n" " "', {
        env: { PATH: '/usr/bin:/bin', ODD: value },
      });
      expect(said).toBe(`${value}|PATH PWD `);
    });

    it('gives the whole of 128 KiB of environment, as much as an agent may have of secrets', async () => {
      const { script, env, digests } = largeEnvironment();
      const { said, exit } = await room.run(script, { env });
      expect([said.trim().split('\n'), exit.exitCode]).toEqual([digests, 0]);
    });

    it('loses nothing of 20 MB of output, though its reader is slow to begin', async () => {
      const bytes = 20_000_000;
      const sandbox = await room.prepare(`seq 1 3000000 | head -c ${String(bytes)}; echo end >&2`);
      await sandbox.go();
      await delay(200);
      const hash = createHash('sha256');
      let length = 0;
      const [complained] = await Promise.all([
        text(sandbox.stderr),
        (async () => {
          for await (const piece of sandbox.stdout) {
            length += (piece as Buffer).length;
            hash.update(piece as Buffer);
          }
        })(),
      ]);
      expect(complained).toBe('end\n');
      expect(length).toBe(bytes);
      expect(hash.digest('hex')).toBe(createHash('sha256').update(sequence(bytes)).digest('hex'));
      expect(await sandbox.exited).toMatchObject({ exitCode: 0 });
    }, 90_000);

    it('refuses a spec that it cannot honour, and leaves nothing behind', async () => {
      const missing = { source: join(room.path, 'missing'), target: '/missing', mode: 'ro' as const };
      await expect(room.prepare('true', { mounts: [missing] })).rejects.toMatchObject({ code: 'sandbox-failed' });
      await expect(room.prepare('true', { agentId: '../up' })).rejects.toMatchObject({ code: 'sandbox-spec' });
      await expect(room.prepare('true', { cwd: '/room/../..' })).rejects.toMatchObject({ code: 'sandbox-spec' });
      await expect(room.prepare('true\0')).rejects.toMatchObject({ code: 'sandbox-spec' });
      await expect(room.prepare('true', { env: { 'A=B': '' } })).rejects.toMatchObject({ code: 'sandbox-spec' });
      await expect(room.prepare('true', { limits: { pids: -1 } })).rejects.toMatchObject({ code: 'sandbox-spec' });
    });
  });
}
