import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** git ended with an error, took too long or said too much. Local: `stderr` may name paths of this machine. */
export class GitFault extends Error {
  override readonly name = 'GitFault';

  constructor(
    readonly command: string,
    readonly reason: 'failed' | 'timeout' | 'stopped' | 'output-too-large' | 'missing',
    readonly exitCode: number | null,
    readonly stderr: string,
    options?: ErrorOptions,
  ) {
    super(`git ${command}: ${reason}${stderr === '' ? '' : ` (${stderr.trim().slice(0, 500)})`}`, options);
  }
}

export interface GitOptions {
  /** Repository, given explicitly so that none is ever looked for. */
  gitDir?: string;
  cwd?: string;
  /** Stands in for the user's own configuration, and unlike `-c` reaches the programs that git starts. */
  configFile?: string;
  /** Further variables, e.g. GIT_INDEX_FILE. */
  env?: Record<string, string>;
  stdin?: string | Readable;
  /** Milliseconds; then git and all that it started are ended, and killed where that takes long. */
  timeoutMs?: number;
  /** Aborted, it ends them at once in the same way. */
  signal?: AbortSignal;
  /** Bytes of standard output. */
  maxOutputBytes?: number;
  /** Exit codes that are an answer, not a failure; default 0 alone. */
  exitCodes?: readonly number[];
  /** It talks to a source, and reads nothing: what git starts for that (ssh, a helper, git at the source) ends with us too. */
  talks?: boolean;
}

const TIMEOUT_MS = 60_000;
/** Exit code of what starts git for us, where that is not there. */
const NOT_FOUND = 127;
/** So long may git take to remove its lock files when it is ended. */
const UNLOCK_MS = 500;
const MOST_OUTPUT = 16 * 1024 * 1024;
const MOST_COMPLAINT = 16 * 1024;
/**
 * One allocation of git's at most. Larger files are streamed; where git cannot do that (it merges two of them, or changes
 * line ends), it fails instead of taking the host's memory. More than 512 MiB: that is where git begins to stream when it is
 * started by a transport and does not know our settings.
 */
const MOST_MEMORY = '768m';

/** The kernel ends git when we die: else it would push on, and hold locks, beside our next life. */
const WITH_US = ['--pdeathsig', 'TERM', '--'];
/** The kernel tells git alone, and not what git has started. */
const ALL_WITH_US = [
  ...WITH_US,
  '/bin/sh',
  '-c',
  // A shell hears a signal while it waits for what runs in the background.
  `trap 'trap "" TERM; kill -TERM 0; wait' TERM; "$@" & wait "$!"`,
  'capstan-git',
];

/** Programs are found here and nowhere else. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Nothing in here can be set by a repository: the command line outranks every file. fsck's first group is what real
 * old histories contain (fetching them must work); none of it can harm a checkout.
 */
const SETTINGS: readonly string[] = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.attributesFile=/dev/null',
  'core.excludesFile=/dev/null',
  'core.sshCommand=ssh -oBatchMode=yes -oStrictHostKeyChecking=yes -oPermitLocalCommand=no',
  'core.askPass=/bin/false',
  'core.protectHFS=true',
  'core.protectNTFS=true',
  'core.pager=cat',
  'core.editor=false',
  'credential.helper=',
  // Above this, blobs are streamed instead of held in memory.
  'core.bigFileThreshold=16m',
  'gc.auto=0',
  'maintenance.auto=false',
  'commit.gpgSign=false',
  'push.gpgSign=false',
  'submodule.recurse=false',
  'fetch.recurseSubmodules=false',
  'push.recurseSubmodules=no',
  'http.followRedirects=initial',
  'protocol.ext.allow=never',
  'transfer.bundleURI=false',
  'transfer.fsckObjects=true',
  ...[
    'zeroPaddedFilemode',
    'badTimezone',
    'missingSpaceBeforeDate',
    'missingEmail',
    'missingNameBeforeEmail',
    'badDate',
    'badDateOverflow',
    'missingSpaceBeforeEmail',
    'nulInCommit',
    'badFilemode',
  ].map((message) => `fetch.fsck.${message}=ignore`),
];

/**
 * Runs git with an environment made from nothing: no hooks, prompts, helpers, or configuration of the machine.
 *
 * Why not simple-git: it starts from the caller's environment, returns output as text (paths are bytes), takes no
 * stream on standard input (we import packs), and kills only git itself at a timeout, not the transport it started.
 * What is needed here is a dozen plumbing commands with fixed arguments, so the safest wrapper is the smallest one.
 *
 * @throws GitFault
 */
export async function runGit(args: readonly string[], options: GitOptions = {}): Promise<Buffer> {
  const command = args[0] ?? '';
  const child = start(args, options);
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  let reason: GitFault['reason'] = 'failed';
  let killing: NodeJS.Timeout | undefined;
  const stop = (why: GitFault['reason']): void => {
    if (killing !== undefined) return;
    reason = why;
    // A source that is a path is written to by a git of this group: killed at once, it would leave its locks there.
    signalGroup(child.pid, 'SIGTERM');
    killing = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), UNLOCK_MS);
  };
  const timer = setTimeout(() => stop('timeout'), timeoutMs);
  const onAbort = (): void => stop('stopped');
  options.signal?.addEventListener('abort', onAbort);
  if (options.signal?.aborted === true) onAbort();
  const feeding = feed(child.stdin, options.stdin);
  const reading = Promise.all([
    collect(child.stdout, options.maxOutputBytes ?? MOST_OUTPUT, () => stop('output-too-large')),
    collect(child.stderr, MOST_COMPLAINT, () => undefined),
  ]);
  try {
    const [exitCode] = (await once(child, 'close')) as [number | null];
    // Whoever is left has no output, and nothing to unlock.
    if (killing !== undefined) signalGroup(child.pid, 'SIGKILL');
    const [stdout, stderr] = await reading;
    // A broken input shows as a failure of git, which then says more about it than the pipe does.
    const inputFault = await feeding;
    const isAnswer = exitCode !== null && (options.exitCodes ?? [0]).includes(exitCode) && reason === 'failed';
    if (!isAnswer || inputFault !== undefined) {
      const why = reason === 'failed' && exitCode === NOT_FOUND ? 'missing' : reason;
      throw new GitFault(command, why, exitCode, stderr.toString('utf8'), { cause: inputFault });
    }
    return stdout;
  } catch (error) {
    if (error instanceof GitFault) throw error;
    throw new GitFault(command, 'missing', null, 'The program setpriv (package util-linux) is needed.', {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    clearTimeout(killing);
    options.signal?.removeEventListener('abort', onAbort);
  }
}

/** As `runGit`, as text without the line end. @throws GitFault */
export async function gitText(args: readonly string[], options: GitOptions = {}): Promise<string> {
  return (await runGit(args, options)).toString('utf8').replace(/\n$/, '');
}

function start(args: readonly string[], options: GitOptions): ChildProcessByStdio<Writable, Readable, Readable> {
  const settings = SETTINGS.flatMap((setting) => ['-c', setting]);
  const first = options.talks === true ? ALL_WITH_US : WITH_US;
  return spawn('setpriv', [...first, 'git', '--no-pager', ...settings, ...args], {
    cwd: options.cwd ?? '/',
    env: environment(options),
    stdio: ['pipe', 'pipe', 'pipe'],
    // A group of its own, so that a timeout ends ssh and git-remote-https too.
    detached: true,
  });
}

function environment({ gitDir, configFile, env }: GitOptions): Record<string, string> {
  return {
    PATH,
    HOME: '/nonexistent',
    LC_ALL: 'C',
    TZ: 'UTC',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: configFile ?? '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    SSH_ASKPASS: '/bin/false',
    GIT_ALLOW_PROTOCOL: 'file:https:ssh',
    GIT_PROTOCOL_FROM_USER: '0',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_NO_LAZY_FETCH: '1',
    GIT_ALLOC_LIMIT: MOST_MEMORY,
    // Where no repository is given, none is to be found either.
    GIT_CEILING_DIRECTORIES: '/',
    ...(gitDir === undefined ? {} : { GIT_DIR: gitDir }),
    ...env,
  };
}

/** @returns the fault of the source, if it had one; git's own refusal to read on is none. */
async function feed(stdin: Writable, source: GitOptions['stdin']): Promise<unknown> {
  stdin.on('error', () => undefined);
  if (source === undefined || typeof source === 'string') {
    stdin.end(source ?? '');
    return undefined;
  }
  try {
    await pipeline(source, stdin);
    return undefined;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE' ? undefined : error;
  }
}

async function collect(stream: Readable, limit: number, onTooMuch: () => void): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= limit) chunks.push(chunk);
    else onTooMuch();
  }
  return Buffer.concat(chunks);
}

function signalGroup(pid: number | undefined, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // It ended just now.
  }
}
