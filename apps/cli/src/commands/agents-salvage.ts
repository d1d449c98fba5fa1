import { execFile } from 'node:child_process';
import { access, readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { isId, LocalFault, stripControl, WireFault } from '@capstan/protocol';
import type { Output } from '../output/output.js';

const run = promisify(execFile);
const REFS = 'refs/capstan/salvage/';
/** What agents read, and what they do not: unfinished work is in the other one. */
const KEPT_IN = /\.(?:git|salvage)$/;
const FORMAT =
  '%(objectname)%09%(parent)%09%(creatordate:iso-strict)%09%(refname:lstrip=3)%09%(trailers:key=Capstan-Task,valueonly,separator=%x20)';

export interface SalvageOptions {
  /** A repository of the caller's that fetches the work. */
  into?: string;
  /** Forget the work. */
  drop?: true;
}

/** Unfinished work of one agent, as its instance keeps it. */
interface Salvaged {
  agentId: string;
  taskId: string;
  at: string;
  commit: string;
  /** Commit from which the agent began. */
  base: string;
  /** The instance's bare repository. */
  repository: string;
  ref: string;
}

/** Work that could not be saved: its files are kept. */
interface Unsaved {
  agentId: string;
  taskId: string;
  at: string;
  /** Directory of the work tree. */
  files: string;
  why: string;
}

/**
 * The owner's look at unfinished work, in the instance's own repositories on this machine: no hub ever has their content,
 * and nothing of the instance need run. It is kept until it is dropped here.
 *
 * @param directory of the instance. @param id one agent; all where it is left out
 * @throws LocalFault `usage`, `salvage-missing`, `salvage-git`
 */
export async function salvage(
  output: Output,
  directory: string,
  id: string | undefined,
  options: SalvageOptions,
): Promise<void> {
  if (id === undefined) {
    if (options.into !== undefined || options.drop) throw new LocalFault('usage', 'Name the agent.');
    const kept = await findAll(directory);
    const unsaved = await findUnsaved(directory);
    const lines = [
      ...kept.map(({ agentId, taskId, at, commit }) => `${at}  ${agentId}  ${taskId}  ${commit.slice(0, 12)}`),
      ...unsaved.map(({ agentId, taskId, at, files }) => `${at}  ${agentId}  ${taskId}  not saved: ${files}`),
    ];
    output.result('salvage', { kept, unsaved }, lines.length > 0 ? lines : ['There is no unfinished work here.']);
    return;
  }
  if (!isId(id)) throw new WireFault('id-malformed');
  const found = (await findAll(directory)).find(({ agentId }) => agentId === id);
  const unsaved = (await findUnsaved(directory)).find(({ agentId }) => agentId === id);
  if (found === undefined && unsaved !== undefined) {
    if (options.drop || options.into !== undefined)
      throw new LocalFault('usage', `The work of ${id} is in no repository: see it without --into and --drop.`);
    return showUnsaved(output, unsaved);
  }
  if (found === undefined)
    throw new LocalFault('salvage-missing', `No unfinished work of ${id} is kept in ${directory}.`);
  if (options.drop) return drop(output, found);
  if (options.into !== undefined) return fetchInto(output, found, resolve(options.into));
  await show(output, found);
}

function showUnsaved(output: Output, unsaved: Unsaved): void {
  const { agentId, taskId, at, files, why } = unsaved;
  output.result('salvage', { ...unsaved }, [
    `agent   ${agentId}`,
    `task    ${taskId}`,
    `since   ${at}`,
    `files   ${files}`,
    `why     ${stripControl(why)}`,
    '',
    'git could not take these files in, and they stay where they are. Copy what you want of them, then remove that directory:',
    'the instance clears away the rest. It tries once more to save them when its orchestrator starts.',
  ]);
}

async function show(output: Output, found: Salvaged): Promise<void> {
  const { agentId, taskId, at, commit, base, repository, ref } = found;
  const stat = await git(repository, 'diff', '--stat=100', '--no-ext-diff', '--no-textconv', base, commit);
  output.result('salvage', { ...found, stat }, [
    `agent   ${agentId}`,
    `task    ${taskId}`,
    `saved   ${at}`,
    `commit  ${commit} on ${base}`,
    '',
    ...stat.trimEnd().split('\n'),
    '',
    `To have it as a branch, in a repository of yours: npx capstan agents salvage ${agentId} --local DIR --into REPOSITORY`,
    `or: git fetch ${repository} ${ref}`,
  ]);
}

async function fetchInto(output: Output, { agentId, repository, ref, commit }: Salvaged, into: string): Promise<void> {
  const branch = `salvage/${agentId}`;
  await git(into, 'fetch', '--quiet', '--no-tags', repository, `${ref}:refs/heads/${branch}`);
  output.result('salvage', { agentId, commit, into, branch }, [`${into} has it as the branch ${branch}.`]);
}

async function drop(output: Output, { agentId, repository, ref, commit }: Salvaged): Promise<void> {
  await git(repository, 'update-ref', '-d', ref, commit);
  output.result('salvage', { agentId, dropped: commit }, [`The unfinished work of ${agentId} is kept no longer.`]);
}

async function findAll(directory: string): Promise<Salvaged[]> {
  const root = join(resolve(directory), 'repositories');
  const names = await readdir(root).catch(async () => {
    // Made for its first agent.
    if (await isThere(join(directory, 'instance.json'))) return [];
    throw new LocalFault('usage', `${directory} is no directory of an instance.`);
  });
  const found = await Promise.all(names.filter((name) => KEPT_IN.test(name)).map((name) => findIn(join(root, name))));
  return found.flat().sort((one, other) => one.at.localeCompare(other.at));
}

async function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** The notes of an instance's agents whose work trees it keeps because they could not be saved. */
async function findUnsaved(directory: string): Promise<Unsaved[]> {
  const root = join(resolve(directory), 'agents');
  const names = await readdir(root).catch(() => []);
  const found = await Promise.all(names.map((name) => unsavedIn(join(root, name))));
  return found.flatMap((each) => (each === undefined ? [] : [each]));
}

async function unsavedIn(directory: string): Promise<Unsaved | undefined> {
  try {
    const text = await readFile(join(directory, 'session.json'), 'utf8');
    const { agentId, worktree, kept } = JSON.parse(text) as {
      agentId: string;
      worktree?: { taskId: string; dir: string };
      kept?: { at: string; why: string };
    };
    if (kept === undefined || worktree === undefined) return undefined;
    return { agentId, taskId: worktree.taskId, at: kept.at, files: worktree.dir, why: kept.why };
  } catch {
    // It is just being written, or not for us to read.
    return undefined;
  }
}

async function findIn(repository: string): Promise<Salvaged[]> {
  const text = await git(repository, 'for-each-ref', `--format=${FORMAT}`, REFS);
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const [commit = '', base = '', at = '', agentId = '', taskId = ''] = line.split('\t');
    return { agentId, taskId: taskId.trim(), at, commit, base, repository, ref: `${REFS}${agentId}` };
  });
}

/** The repository belongs to the instance, which may run as somebody else. */
async function git(directory: string, ...args: string[]): Promise<string> {
  const env = {
    PATH: process.env['PATH'] ?? '',
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: 'safe.directory',
    GIT_CONFIG_VALUE_0: '*',
    GIT_TERMINAL_PROMPT: '0',
  };
  try {
    const { stdout } = await run('git', ['-C', directory, '-c', 'core.hooksPath=/dev/null', ...args], {
      env,
      maxBuffer: 16 * 1024 * 1024,
    });
    return stdout;
  } catch (error) {
    const said = (error as { stderr?: string }).stderr ?? '';
    throw new LocalFault('salvage-git', `git could not do it in ${directory}.`, said, { cause: error });
  }
}
