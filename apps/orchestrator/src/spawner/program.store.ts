import { createHash, randomUUID } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import { chmod, cp, lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { LocalFault, type OwnerPolicy, type ProgramPolicy } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';

/** A program of the owner's, ready to be mounted. */
export interface Program extends Omit<ProgramPolicy, 'directory'> {
  /** Where its files lie on the host, traversable by every agent's uid; absent where it has none of its own. */
  source?: string;
}

const BUILT_IN = 'claude';

/**
 * The owner's programs that agents may be. Their directories are copied, once for each state of their files: the original may
 * lie where an agent's uid cannot reach it, and what an agent runs must not change under it.
 */
export class ProgramStore {
  private readonly copies = new Map<string, Promise<string>>();

  /** @param directory of the copies. @param policy as it is now */
  constructor(
    private readonly directory: string,
    private readonly policy: () => Promise<OwnerPolicy>,
  ) {}

  /**
   * @returns undefined for the built-in runtime.
   * @throws {WireFault} `policy-runtime` where the owner names no such program. @throws LocalFault `program-unreadable`
   */
  async find(runtime: string): Promise<Program | undefined> {
    if (runtime === BUILT_IN) return undefined;
    const { programs = {} } = await this.policy();
    const found = Object.hasOwn(programs, runtime) ? programs[runtime] : undefined;
    if (found === undefined) throw new WireFault('policy-runtime', runtime);
    const { directory, ...program } = found;
    if (directory === undefined) return program;
    try {
      return { ...program, source: await this.copyOf(runtime, directory) };
    } catch (error) {
      throw new LocalFault('program-unreadable', `The files of the program ${runtime} cannot be read.`, undefined, {
        cause: error,
      });
    }
  }

  /** Removes every copy; only where no agent lives. */
  async clear(): Promise<void> {
    this.copies.clear();
    await rm(this.directory, { recursive: true, force: true });
  }

  private async copyOf(name: string, from: string): Promise<string> {
    const target = join(this.directory, `${name}-${await digestOf(from)}`);
    let copying = this.copies.get(target);
    if (copying === undefined) {
      copying = this.copy(from, target);
      this.copies.set(target, copying);
      copying.catch(() => this.copies.delete(target));
    }
    return copying;
  }

  private async copy(from: string, target: string): Promise<string> {
    // Of a former life: it got this name once it was whole.
    if (existsSync(target)) return target;
    await mkdir(this.directory, { recursive: true, mode: 0o711 });
    await chmod(this.directory, 0o711);
    const fresh = `${target}.${randomUUID()}`;
    try {
      await cp(from, fresh, { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE });
      await makeReadable(fresh);
      await rename(fresh, target);
    } finally {
      await rm(fresh, { recursive: true, force: true });
    }
    return target;
  }
}

/** Of names, sizes and times: what has changed shows in them. */
async function digestOf(directory: string): Promise<string> {
  const hash = createHash('sha256');
  for (const path of await pathsIn(directory)) {
    const { mode, size, mtimeMs } = await lstat(path);
    hash.update(JSON.stringify([relative(directory, path), mode, size, mtimeMs]));
  }
  return hash.digest('hex').slice(0, 16);
}

async function makeReadable(directory: string): Promise<void> {
  for (const path of [directory, ...(await pathsIn(directory))]) {
    const stats = await lstat(path);
    if (stats.isSymbolicLink()) continue;
    await chmod(path, stats.isDirectory() || (stats.mode & 0o111) !== 0 ? 0o755 : 0o644);
  }
}

async function pathsIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.map((entry) => join(entry.parentPath, entry.name)).sort();
}
