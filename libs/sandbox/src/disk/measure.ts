import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { members, type KillHandle } from '../kill/handle.js';
import type { DiskUse } from '../port.js';

/** What takes longer is not known. */
const PATIENCE_S = 60;
/** A process that waits for a file system that does not answer does not even die. */
const LONGEST_MS = 70_000;
const MOST_PROCESSES = 4096;
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Below agents, yet not idle: they could keep what is idle from ever being run. */
const READ = `nice -n 10 ionice -c 2 -n 7 timeout --foreground -s KILL ${String(PATIENCE_S)}`;

/**
 * Ends what find prints. It says 1 where something was gone or closed to it, which is no fault; 124 and more where it was
 * ended, or could not be run: then nothing is printed, since what it had counted is no answer.
 */
const STATUS = 'echo "status $?"';
const COMPLETE = '$1 == "status" { complete = $2 < 124; next }';

/**
 * Blocks and entries below the directories $3…, read until either is more than $1 bytes or $2 entries. Names are not printed:
 * they are the agent's words. A file of several names is counted by its share at each; what a directory's links are is its own
 * affair. Where we are not root, root of a user namespace of our own reads what the agent, who has our uid then, has closed to
 * itself.
 */
export const TREES = `
most_bytes=$1 most_entries=$2; shift 2
as=
[ "$(id -u)" = 0 ] || ! unshare --user --map-root-user true 2> /dev/null || as='unshare --user --map-root-user'
{ ${READ} $as find -P "$@" -xdev -printf '%y %b %n\\n' 2> /dev/null; ${STATUS}; } |
  awk -v mb="$most_bytes" -v me="$most_entries" '
    ${COMPLETE}
    { blocks += $2 / ($1 != "d" && $3 > 1 ? $3 : 1); entries += 1 }
    blocks * 512 > mb || entries > me { complete = 1; exit }
    END { if (complete) printf "%.0f %.0f\\n", blocks * 512, entries }'`;

/**
 * Blocks of the files of the devices $1 (numbers with a space on either side) that have no name any more and are held open,
 * or mapped, by whoever's directories of /proc are $2….
 */
const NAMELESS = `
devices=$1; shift
{ ${READ} find -L "$@" -mindepth 1 -maxdepth 1 -type f -links 0 -printf '%D:%i %D %b\\n' 2> /dev/null; ${STATUS}; } |
  awk -v devices="$devices" '
    ${COMPLETE}
    index(devices, " " $2 " ") && !seen[$1]++ { blocks += $3 }
    END { if (complete) printf "%.0f 0\\n", blocks * 512 }'`;

/**
 * What lies in the directories, as the disk's own blocks; no link is followed, no other file system entered. Undefined where it
 * cannot be read, or not to its end.
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

/**
 * Bytes on the given devices that the agent's processes hold without a name, as far as they may be looked at; undefined where
 * that could not be counted to its end.
 */
export async function measureNameless(
  handle: KillHandle,
  devices: readonly number[],
  signal?: AbortSignal,
): Promise<number | undefined> {
  const pids = members(handle).slice(0, MOST_PROCESSES);
  if (pids.length === 0) return 0;
  // Threads share the descriptors of their process, and could have it list them as often as they are many.
  const places = pids.flatMap((pid) => [join('/proc', String(pid), 'fd'), join('/proc', String(pid), 'map_files')]);
  return (await run(NAMELESS, [` ${devices.join(' ')} `, ...places], signal))?.bytes;
}

/**
 * What the script has said, undefined where it could not say it; never rejects. A process group of its own, so that nothing of
 * it outlives the one who has asked.
 */
async function run(script: string, args: readonly string[], signal?: AbortSignal): Promise<DiskUse | undefined> {
  let end = (): void => undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    // Throws where the kernel has no room for another process, and for an argument with a NUL byte.
    const child = spawn('/bin/sh', ['-c', script, 'capstan-disk', ...args], {
      cwd: '/',
      env: { PATH, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    end = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    };
    const failed = new Promise<undefined>((resolve) => {
      child.once('error', () => resolve(undefined));
      timer = setTimeout(() => {
        end();
        resolve(undefined);
      }, LONGEST_MS);
    });
    signal?.addEventListener('abort', end, { once: true });
    if (signal?.aborted === true) end();
    const said = await Promise.race([text(child.stdout), failed]);
    const [bytes = NaN, entries = NaN] = (said ?? '').split(' ').map(Number);
    return Number.isNaN(bytes + entries) || signal?.aborted === true ? undefined : { bytes, entries };
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', end);
  }
}
