import { randomUUID } from 'node:crypto';
import { access, chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { BareRepository } from './bare-repository.js';

/** Where unfinished work is kept: beside the repository, which later agents read whole. */
export function salvageDirOf(repositoryDir: string): string {
  return repositoryDir.replace(/\.git$/, '.salvage');
}

/** The repository that keeps unfinished work, made where it is missing: it has the objects of the other one too. */
export async function salvageRepositoryOf(repository: BareRepository): Promise<BareRepository> {
  const dir = salvageDirOf(repository.dir);
  if (!(await isThere(dir))) await make(repository, dir);
  return repository.at(dir);
}

async function make(repository: BareRepository, dir: string): Promise<void> {
  const fresh = `${dir}.${randomUUID()}`;
  try {
    const init = ['init', '--quiet', '--bare', '--template=', '--initial-branch=main', '--end-of-options', fresh];
    await repository.at(fresh).git(init);
    // No agent's uid may enter.
    await chmod(fresh, 0o700);
    await mkdir(join(fresh, 'objects', 'info'), { recursive: true });
    // By a path from here to there, so that both can be moved together.
    await writeFile(join(fresh, 'objects', 'info', 'alternates'), `../../${basename(repository.dir)}/objects\n`);
    await rename(fresh, dir);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    // Another one was quicker.
    if (!(await isThere(dir))) throw error;
  }
}

async function isThere(dir: string): Promise<boolean> {
  return access(join(dir, 'HEAD')).then(
    () => true,
    () => false,
  );
}
