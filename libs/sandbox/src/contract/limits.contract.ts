import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { isGone, members, type KillHandle } from '../kill/handle.js';
import { type ContractRoom, UID } from './room.js';
import { FORK_BOMB, until } from './support.js';

/** What an agent may use. */
export function limitsContract(room: ContractRoom): void {
  describe('limits', () => {
    it('says what is enforced, and only what was asked for', async () => {
      const all = await room.prepare('true', { limits: { memoryBytes: 64 << 20, pids: 64, cpus: 0.5 } });
      expect(all.enforced).toMatchObject({ memory: true, pids: true, cpus: true, seccomp: true });
      expect((await room.prepare('true')).enforced).toMatchObject({ memory: false, pids: false, cpus: false });
    });

    it('bounds a fork bomb, and kills it', async () => {
      // A shell that may not fork ends itself, so how many are left over in the end is chance: the refusal is the proof.
      const sandbox = await room.prepare(FORK_BOMB, { limits: { pids: 40 } });
      let complaint = '';
      let most = 0;
      sandbox.stderr.on('data', (piece: Buffer) => (complaint = (complaint + piece.toString()).slice(-4096)));
      await sandbox.go();
      await until(() => {
        most = Math.max(most, members(sandbox.handle).length);
        return /fork/i.test(complaint);
      }, 20_000);
      expect(most).toBeLessThanOrEqual(40);
      expect(isGone(sandbox.handle)).toBe(false);
      await room.killAndSee(sandbox);
    }, 90_000);

    it('of processes are each agent’s own: one that may not fork any more leaves the other all of its own', async () => {
      const limits = { pids: 24 };
      const place = { cwd: '/', mounts: [], limits };
      const greedy = await room.prepare('(while :; do sleep 1000 & done); echo full; exec sleep 1000', place);
      const fork = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; echo forked; exec sleep 1000';
      const ids = { uid: UID + 1, gid: UID + 1 };
      const modest = await room.prepare(fork, { ...place, ...ids, agentId: 'contract-modest' });
      const [greedySaid, modestSaid, complained] = [heard(greedy.stdout), heard(modest.stdout), heard(modest.stderr)];
      greedy.stderr.resume();
      await greedy.go();
      await until(() => greedySaid() === 'full\n');
      await modest.go();
      await until(() => modestSaid() + complained() !== '');
      expect([modestSaid(), complained()]).toEqual(['forked\n', '']);
      const counts = [greedy, modest].map(({ handle }) => members(handle).length);
      expect(Math.max(...counts)).toBeLessThanOrEqual(limits.pids);
      // What they hold together is more than either may.
      expect((counts[0] ?? 0) + (counts[1] ?? 0)).toBeGreaterThan(limits.pids);
      if (process.getuid?.() !== 0) return;
      expect([greedy.enforced.ownUid, modest.enforced.ownUid]).toEqual([true, true]);
      expect([greedy, modest].map(({ handle }) => uidOf(handle))).toEqual([UID, UID + 1]);
    }, 60_000);

    it('ends what takes more memory than allowed, and says that it was that', async () => {
      const sandbox = await room.prepare('head -c 200000000 /dev/zero | tail | wc -c; exit 3', {
        limits: { memoryBytes: 48 << 20 },
      });
      await sandbox.go();
      sandbox.stderr.resume();
      expect((await text(sandbox.stdout)).trim()).not.toBe('200000000');
      expect(await sandbox.exited).toMatchObject({ outOfMemory: true });
      expect((await room.run('exit 3', { limits: { memoryBytes: 48 << 20 } })).exit.outOfMemory).toBe(false);
    });

    it('gives no more processor time than allowed', async () => {
      const { said } = await room.run('timeout 1 sh -c "while :; do :; done"; times', { limits: { cpus: 0.2 } });
      const seconds = /^0m([\d.]+)s 0m([\d.]+)s$/m.exec(said.split('\n')[1] ?? '');
      expect(Number(seconds?.[1]) + Number(seconds?.[2])).toBeLessThan(0.7);
    });
  });
}

/** What an output has said so far. */
function heard(output: Readable): () => string {
  let said = '';
  output.on('data', (piece: Buffer) => (said += piece.toString()));
  return () => said;
}

/** As whom its first process runs, by the host's word. */
function uidOf({ processes }: KillHandle): number {
  const status = readFileSync(`/proc/${String(processes.at(-1)?.pid)}/status`, 'latin1');
  return Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]);
}
