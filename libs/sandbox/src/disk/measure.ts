import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { members, type KillHandle } from '../kill/handle.js';
import type { DiskUse } from '../port.js';

/** A tree that takes longer is counted as far as it was read. */
const PATIENCE_S = 60;
const MOST_THREADS = 4096;
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Below agents, yet not idle: they could keep what is idle from ever being run. */
const READ = `nice -n 10 ionice -c 2 -n 7 timeout --foreground -s KILL ${String(PATIENCE_S)}`;

/**
 * Blocks and entries below the directories $3…, read until either is more than $1 bytes or $2 entries. Names are not printed:
 * they are the agent's words. A file of several names is counted by its share at each. Where we are not root, root of a user
 * namespace of our own reads what the agent, who has our uid then, has closed to itself.
 */
export const TREES = `
most_bytes=$1 most_entries=$2; shift 2
as=
[ "$(id -u)" = 0 ] || ! unshare --user --map-root-user true 2> /dev/null || as='unshare --user --map-root-user'
${READ} $as find -P "$@" -xdev -printf '%b %n\\n' 2> /dev/null |
  awk -v mb="$most_bytes" -v me="$most_entries" '
    { blocks += $1 / ($2 > 0 ? $2 : 1); entries += 1; if (blocks * 512 > mb || entries > me) exit }
    END { printf "%.0f %.0f\\n", blocks * 512, entries }'`;

/**
 * Blocks of the files of the devices $1 (numbers with a space on either side) that have no name any more and are held open,
 * or mapped, by whoever's directories of /proc are $2….
 */
const NAMELESS = `
devices=$1; shift
${READ} find -L "$@" -mindepth 1 -maxdepth 1 -type f -links 0 -printf '%D:%i %D %b\\n' 2> /dev/null |
  awk -v devices="$devices" '
    index(devices, " " $2 " ") && !seen[$1]++ { blocks += $3 }
    END { printf "%.0f 0\\n", blocks * 512 }'`;

/**
 * What lies in the directories, as the disk's own blocks; no link is followed, no other file system entered. Undefined where it
 * cannot be read.
 *
 * @param most where the answer is more than this, it may be any number above it
 */
export async function measureTrees(
  directories: readonly string[],
  most: DiskUse = { bytes: Infinity, entries: Infinity },
  signal?: AbortSignal,
): Promise<DiskUse | undefined> {
  const bound = [most.bytes, most.entries].map((it) => String(Math.min(it, Number.MAX_SAFE_INTEGER)));
  const use = await run(TREES, [...bound, ...directories], signal);
  // The directories themselves count.
  return use === undefined || use.entries < directories.length ? undefined : use;
}

/** Bytes on the given devices that the agent's processes hold without a name; 0 where they cannot be looked at. */
export async function measureNameless(
  handle: KillHandle,
  devices: readonly number[],
  signal?: AbortSignal,
): Promise<number> {
  const threads = (await Promise.all(members(handle).map(threadsOf))).flat().slice(0, MOST_THREADS);
  if (threads.length === 0) return 0;
  // Each thread may have descriptors of its own.
  const places = threads.flatMap(({ process, thread }) => [join(thread, 'fd'), join(process, 'map_files')]);
  const use = await run(NAMELESS, [` ${devices.join(' ')} `, ...new Set(places)], signal);
  return use?.bytes ?? 0;
}

async function threadsOf(pid: number): Promise<{ process: string; thread: string }[]> {
  const place = `/proc/${String(pid)}`;
  const names = await readdir(join(place, 'task')).catch(() => []);
  return names.map((name) => ({ process: place, thread: join(place, 'task', name) }));
}

/** A process group of its own, so that nothing of it outlives the one who has asked. */
async function run(script: string, args: readonly string[], signal?: AbortSignal): Promise<DiskUse | undefined> {
  if (args.some((argument) => argument.includes('\0'))) return undefined;
  const child = spawn('/bin/sh', ['-c', script, 'capstan-disk', ...args], {
    cwd: '/',
    env: { PATH, LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  const end = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  };
  const failed = new Promise<undefined>((resolve) => child.once('error', () => resolve(undefined)));
  signal?.addEventListener('abort', end, { once: true });
  if (signal?.aborted === true) end();
  try {
    const said = await Promise.race([text(child.stdout), failed]);
    const [bytes = NaN, entries = NaN] = (said ?? '').split(' ').map(Number);
    return said === '' || Number.isNaN(bytes + entries) || signal?.aborted === true ? undefined : { bytes, entries };
  } catch {
    return undefined;
  } finally {
    signal?.removeEventListener('abort', end);
  }
}
