import { chmod, link, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { BareRepository } from './bare-repository.js';
import type { Harvest } from './harvest-limits.js';

/** Where quarantines are: beside the repository, which later agents read whole. */
export function quarantinesOf(repositoryDir: string): string {
  return repositoryDir.replace(/\.git$/, '.quarantine');
}

/** What was taken out of a work tree, in a quarantine of its own: gone at its end, unless it was kept. */
export class HeldHarvest implements Harvest, AsyncDisposable {
  /** The repository with what is held; what git makes in it is held too. */
  readonly repository: BareRepository;

  constructor(
    private readonly owner: BareRepository,
    /** The quarantine. */
    readonly directory: string,
    readonly tree: string,
    readonly files: string[],
    readonly leftOut: readonly string[] = [],
  ) {
    this.repository = owner.withObjects(directory);
  }

  /** Puts what is held among a repository's objects, its own unless told. May be repeated. */
  async keep({ dir }: Pick<BareRepository, 'dir'> = this.owner): Promise<void> {
    await migrate(this.directory, join(dir, 'objects'));
  }

  /** Bytes that it takes on the disk. */
  async bytes(): Promise<number> {
    const entries = await readdir(this.directory, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    const sizes = await Promise.all(
      files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  /** The same, with the names of what was not taken. */
  without(leftOut: readonly string[]): HeldHarvest {
    return new HeldHarvest(this.owner, this.directory, this.tree, this.files, leftOut);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** The index of a pack last: git takes a pack for whole once it sees that. */
async function migrate(quarantine: string, objects: string): Promise<void> {
  const directories = (await readdir(quarantine, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  for (const { name: directory } of directories) {
    const to = join(objects, directory);
    if ((await mkdir(to, { recursive: true })) !== undefined) await chmod(to, 0o755);
    const names = await readdir(join(quarantine, directory));
    for (const name of names.sort((a, b) => Number(a.endsWith('.idx')) - Number(b.endsWith('.idx')))) {
      await link(join(quarantine, directory, name), join(to, name)).catch((error: unknown) => {
        // The very same objects are there already.
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      });
    }
  }
}
