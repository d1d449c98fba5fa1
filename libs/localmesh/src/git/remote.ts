import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import { makeTraversable } from '../state/state-dir.js';
import { runGit } from './run-git.js';

/** The branch that stands for a source whose HEAD is on none. */
const DETACHED = 'capstan-source';

/** A bare repository on this machine that stands for the team's git server: instances clone from it and push to it. */
export interface Remote {
  /** Path of the bare repository; what a spawn names. */
  path: string;
  /** The path or URL it was made from. */
  source: string;
  /** Its default branch. */
  branch: string;
  /** Commit that the default branch points to. */
  commit: string;
}

/**
 * Clones `source` into `directory`, or brings an earlier clone up to date. The source itself is only read.
 *
 * @param source a path of a repository (a checkout or a bare one) or a URL.
 * @throws LocalFault `repository-missing`, `repository-empty`, `repository-unreadable`
 */
export async function addRemote(source: string, directory: string): Promise<Remote> {
  makeTraversable(directory);
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\/|^[^/]+@[^/:]+:/i.test(source);
  const origin = isUrl ? source : await localRepository(source);
  const path = await placeFor(origin, directory);
  if (existsSync(path)) await update(path, isUrl);
  else await clone(origin, path, isUrl);
  const branch = await defaultBranch(path);
  return {
    path,
    source: origin,
    branch,
    commit: await runGit(['rev-parse', '--verify', `refs/heads/${branch}^{commit}`], { cwd: path }),
  };
}

async function localRepository(path: string): Promise<string> {
  const directory = resolve(path);
  if (!existsSync(directory)) throw new LocalFault('repository-missing', `There is no repository at ${directory}.`);
  try {
    const top = await runGit(['rev-parse', '--show-toplevel'], { cwd: directory }).catch(() => '');
    return top === '' ? await runGit(['rev-parse', '--absolute-git-dir'], { cwd: directory }) : top;
  } catch (error) {
    throw new LocalFault(
      'repository-missing',
      `${directory} is no git repository; name one with --repo PATH_OR_URL.`,
      undefined,
      { cause: error },
    );
  }
}

/** NAME.git; with a digest where another source of the same name was there first. */
async function placeFor(origin: string, directory: string): Promise<string> {
  const name = basename(origin)
    .replace(/\.git$/, '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[.-]+/, '')
    .slice(0, 60);
  const plain = join(directory, `${name === '' ? 'repository' : name}.git`);
  if (!existsSync(plain)) return plain;
  const known = await runGit(['config', '--get', 'remote.origin.url'], { cwd: plain }).catch(() => '');
  if (known === origin) return plain;
  const digest = createHash('sha256').update(origin).digest('hex').slice(0, 8);
  return plain.replace(/\.git$/, `-${digest}.git`);
}

async function clone(origin: string, path: string, isUrl: boolean): Promise<void> {
  const fresh = `${path}.${String(process.pid)}`;
  try {
    await runGit(['clone', '--bare', '--quiet', '--no-hardlinks', ...serverOf(isUrl), '--', origin, fresh]);
    await giveBranch(fresh);
    await rename(fresh, path);
  } catch (error) {
    if (error instanceof LocalFault && error.code !== 'git-failed') throw error;
    const detail = error instanceof LocalFault ? error.detail : undefined;
    throw new LocalFault(
      'repository-unreadable',
      `The repository ${withoutPassword(origin)} cannot be cloned.`,
      detail,
      { cause: error },
    );
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

/** The serving side of a local clone is a process of its own, to which git does not pass our settings on. */
function serverOf(isUrl: boolean): string[] {
  return isUrl ? [] : ['--upload-pack', "git -c 'safe.directory=*' upload-pack"];
}

/** Where HEAD is detached (a CI checkout, say) or names nothing, an agent still needs a branch to start from. */
async function giveBranch(bare: string): Promise<void> {
  const commit = await runGit(['rev-parse', '--verify', '--quiet', 'HEAD^{commit}'], { cwd: bare }).catch(() => '');
  if (commit === '')
    throw new LocalFault(
      'repository-empty',
      'The repository has no commit yet; commit something, or name another one with --repo.',
    );
  const branch = await runGit(['symbolic-ref', '--quiet', '--short', 'HEAD'], { cwd: bare }).catch(() => '');
  if (branch === '') await standOn(bare, commit);
}

async function standOn(bare: string, commit: string): Promise<void> {
  await runGit(['update-ref', `refs/heads/${DETACHED}`, commit], { cwd: bare });
  await runGit(['symbolic-ref', 'HEAD', `refs/heads/${DETACHED}`], { cwd: bare });
}

/** New commits come in; nothing that an agent pushed is taken away. */
async function update(path: string, isUrl: boolean): Promise<void> {
  try {
    const refs = ['+HEAD:refs/source/HEAD', '+refs/heads/*:refs/heads/*', '^refs/heads/capstan/*'];
    await runGit(['fetch', '--quiet', '--no-tags', ...serverOf(isUrl), '--', 'origin', ...refs], { cwd: path });
    const head = /^ref: refs\/heads\/(\S+)\s+HEAD$/m.exec(
      await runGit(['ls-remote', '--symref', ...serverOf(isUrl), '--', 'origin', 'HEAD'], { cwd: path }),
    );
    if (head?.[1] !== undefined) await runGit(['symbolic-ref', 'HEAD', `refs/heads/${head[1]}`], { cwd: path });
    else await standOn(path, await runGit(['rev-parse', 'refs/source/HEAD'], { cwd: path }));
  } catch (error) {
    const detail = error instanceof LocalFault ? error.detail : undefined;
    throw new LocalFault('repository-unreadable', 'The repository cannot be fetched again.', detail, { cause: error });
  }
}

async function defaultBranch(path: string): Promise<string> {
  return runGit(['symbolic-ref', '--short', 'HEAD'], { cwd: path });
}

function withoutPassword(origin: string): string {
  return origin.replace(/\/\/[^/@]*@/, '//');
}
