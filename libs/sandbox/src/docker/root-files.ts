import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { SandboxFault } from '../sandbox-fault.js';

const run = promisify(execFile);

/** Where programs are looked for: never a PATH that somebody else has set. */
const PROGRAM_PATH = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/local/sbin', '/usr/sbin', '/sbin'];

/** What a coding agent calls; what is not on this host is left out of its image. */
const PROGRAMS = [
  ...['sh', 'bash', 'env', 'git', 'grep', 'egrep', 'fgrep', 'sed', 'awk', 'find', 'xargs', 'diff', 'cmp', 'patch'],
  ...['tar', 'gzip', 'gunzip', 'make', 'which', 'hostname', 'setsid', 'timeout', 'nice', 'id', 'whoami', 'uname'],
  ...['cat', 'head', 'tail', 'tee', 'wc', 'sort', 'uniq', 'cut', 'tr', 'paste', 'comm', 'join', 'split', 'od', 'nl'],
  ...['ls', 'cp', 'mv', 'rm', 'ln', 'mkdir', 'rmdir', 'mktemp', 'touch', 'chmod', 'stat', 'du', 'df', 'dirname'],
  ...['basename', 'realpath', 'readlink', 'pwd', 'echo', 'printf', 'true', 'false', 'test', '[', 'expr', 'seq', 'date'],
  ...['sleep', 'base64', 'md5sum', 'sha1sum', 'sha256sum', 'sha512sum', 'fold', 'tac', 'yes', 'dd', 'mkfifo', 'ps'],
];

/** Programs without which no agent can start, or its work can be taken in. */
const DEMANDED = ['sh', 'git', 'cat', 'mkdir', 'sleep'];

/** Directories that are taken whole, and files that programs look for. */
const TREES = ['/usr/share/git-core/templates', '/usr/lib/locale/C.utf8', '/usr/lib/git-core'];
/** The first few are links on most hosts. */
const FILES = ['/bin', '/sbin', '/lib', '/lib64', '/bin/sh', '/usr/bin/env', '/etc/ld.so.cache', '/etc/ld.so.conf'];

/**
 * Every file, link and directory that these programs need to run: themselves, what their links name, and the libraries that
 * ldd lists. Sorted, so that outer directories come first.
 *
 * @param more further programs, by name or absolute path.
 * @throws SandboxFault `sandbox-failed` where a program is missing that no agent can do without
 */
export async function rootFiles(more: readonly string[] = []): Promise<string[]> {
  const programs = [...PROGRAMS, ...more].map((name) => ({ name, file: findProgram(name) }));
  const missing = programs.filter(({ name, file }) => file === undefined && DEMANDED.includes(name));
  if (missing.length > 0) {
    const names = missing.map(({ name }) => name).join(', ');
    throw new SandboxFault('sandbox-failed', 'The image of agents cannot be made: programs are missing.', names);
  }
  const roots = [
    ...programs.flatMap(({ file }) => file ?? []),
    ...TREES.filter((tree) => existsSync(tree)).flatMap(filesBelow),
    ...FILES.filter((file) => existsSync(file)),
  ];
  const found = new Set<string>();
  for (const root of roots) addWithLinks(root, found);
  const elves = [...found].filter((path) => isExecutable(path));
  // Node itself is mounted, as the runtimes are; its libraries are not.
  for (const library of await librariesOf([process.execPath, ...elves])) addWithLinks(library, found);
  return [...found].sort();
}

function findProgram(name: string): string | undefined {
  const candidates = name.startsWith('/') ? [name] : PROGRAM_PATH.map((directory) => join(directory, name));
  return candidates.find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return lstatSync(path).isFile() || lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}

function filesBelow(tree: string): string[] {
  const below = readdirSync(tree, { recursive: true, withFileTypes: true });
  return [tree, ...below.map((entry) => join(entry.parentPath, entry.name))];
}

/** Adds a path, the directories that lead to it, and whatever the links on the way name. */
function addWithLinks(path: string, found: Set<string>): void {
  const parts = path.split('/').filter((part) => part !== '');
  let current = '/';
  for (const [at, part] of parts.entries()) {
    current = join(current, part);
    if (!existsSync(current)) return;
    found.add(current);
    if (!lstatSync(current).isSymbolicLink()) continue;
    const target = resolve(dirname(current), readlinkSync(current));
    addWithLinks(join(target, ...parts.slice(at + 1)), found);
    return;
  }
}

/** Source: ldd(1); lines are `name => /path (0x…)` or `/path (0x…)`. It fails on scripts and on what is linked statically. */
async function librariesOf(files: readonly string[]): Promise<Set<string>> {
  const libraries = new Set<string>();
  const listed = await run('ldd', [...files], { maxBuffer: 64 << 20 }).then(
    ({ stdout }) => stdout,
    (error: unknown) => (error as { stdout?: string }).stdout ?? '',
  );
  for (const [, path] of listed.matchAll(/^\s+(?:\S+ => )?(\/\S+) \(0x/gm)) if (path !== undefined) libraries.add(path);
  return libraries;
}
