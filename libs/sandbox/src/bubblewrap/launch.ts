import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { SandboxExit } from '../port.js';
import { SandboxFault } from '../sandbox-fault.js';
import { inheritedFds } from './inherited-fds.js';

const READY_PATIENCE_MS = 10_000;
const COMPLAINT_BYTES = 4096;

/** Host programs are found here and nowhere else: the launcher may be root. */
const LAUNCHER_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Kills the launcher's process group, itself included, at the end of its file: our death, or a launch that failed.
 *
 * bubblewrap's init waits, before it asks for a parent-death signal, for a word from the outer bubblewrap; that one
 * dies with us or of a broken pipe in between, and the init would wait for ever (measured: 57 of 200 parents killed
 * while they launched left one). Until it has passed that point it is in the launcher's process group; from the gate
 * on, the gate's own end of file is enough.
 */
const GUARD = `(
exec 3>&- 4>&- 5<&- >/dev/null 2>&1
read -r word <&6
[ "$word" = READY ] || kill -9 0
) &
exec 6<&-`;

/**
 * The launcher leaves its guard outside, joins its control groups before anything else, offers itself to the kernel's
 * OOM killer, and becomes the program in its arguments, so that its pid stays the same to the end.
 */
const LAUNCHER = `
${GUARD}
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 126; shift; done; shift
echo 500 > /proc/$$/oom_score_adj
exec "$@"`;

/**
 * First process inside. It starts the agent on an explicit GO and on nothing else: at the end of file, which is what
 * a dead orchestrator looks like, it exits.
 */
const GATE = `
echo READY >&3
read -r word <&3 || exit 125
[ "$word" = GO ] || exit 125
exec 3>&-
exec "$@"`;

/** Descriptors of the launcher beside the standard three. */
export const FD = { gate: 3, info: 4, args: 5, guard: 6, firstData: 7 } as const;

export interface LaunchOrder {
  /** Control groups to be launched into. */
  groups: string[];
  /** Programs that prepare the ground, e.g. setpriv and its options; then bubblewrap's name. */
  prefix: string[];
  /** bubblewrap's options. */
  options: string[];
  /** What the agent runs. */
  argv: string[];
  /** Contents of the descriptors from `FD.firstData` on. */
  data: (string | Uint8Array)[];
}

export type LauncherExit = Omit<SandboxExit, 'outOfMemory'>;

/** A launched sandbox that has reported itself ready and waits for GO. */
export interface Launched {
  child: ChildProcess;
  gate: Duplex;
  /** bubblewrap's own word about the init's host pid and the namespaces. */
  info: { initPid: number; pidNamespace: bigint };
  exited: Promise<LauncherExit>;
}

/** Launches and waits until the gate is reached. Throws SandboxFault `sandbox-failed`; the launcher is gone then. */
export async function launch(order: LaunchOrder): Promise<Launched> {
  const child = spawnLauncher(order);
  const exited = exitOf(child);
  const pipes: readonly unknown[] = child.stdio;
  const gate = pipes[FD.gate] as Duplex;
  const guard = pipes[FD.guard] as Duplex;
  // A launcher that is gone makes these fail; its exit says so already.
  for (const stream of child.stdio) stream?.on('error', () => undefined);
  (pipes[FD.args] as Writable).end(order.options.map((option) => `${option}\0`).join(''));
  order.data.forEach((content, index) => (pipes[FD.firstData + index] as Writable).end(content));
  const info = text(pipes[FD.info] as Readable);
  try {
    await ready(gate, exited);
    const launched = { child, gate, info: parseInfo(await info), exited };
    guard.end('READY\n');
    return launched;
  } catch (error) {
    gate.destroy();
    guard.destroy();
    child.kill('SIGKILL');
    const complaint = await complaintOf(child);
    await exited;
    throw new SandboxFault('sandbox-failed', 'The sandbox could not be made.', complaint, { cause: error });
  }
}

function spawnLauncher(order: LaunchOrder): ChildProcess {
  const bubblewrap = [...order.prefix, '--args', String(FD.args), '--', '/bin/sh', '-c', GATE, 'capstan-gate'];
  const nothing = openSync('/dev/null', 'r+');
  try {
    const stdio: Exclude<StdioOptions, string> = ['ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'];
    stdio.push(...order.data.map(() => 'pipe' as const));
    // Laid over with nothing; Node leaves the descriptors between them alone.
    for (const fd of inheritedFds()) {
      while (stdio.length <= fd) stdio.push('ignore');
      if (stdio[fd] === 'ignore') stdio[fd] = nothing;
    }
    const args = ['-c', LAUNCHER, 'capstan-launcher', ...order.groups, '--', ...bubblewrap, ...order.argv];
    // Detached: a process group of its own, which its guard may kill.
    return spawn('/bin/sh', args, { cwd: '/', env: { PATH: LAUNCHER_PATH }, stdio, detached: true });
  } finally {
    closeSync(nothing);
  }
}

async function ready(gate: Duplex, exited: Promise<LauncherExit>): Promise<void> {
  const deadline = AbortSignal.timeout(READY_PATIENCE_MS);
  const said = once(gate, 'data', { signal: deadline }).then(([bytes]: unknown[]) => String(bytes).trim());
  const word = await Promise.race([said, exited.then(() => 'exited before it was ready')]);
  // Whatever may still be written into it from inside is of no interest and must not be read.
  gate.pause();
  if (word !== 'READY') {
    said.catch(() => undefined);
    throw new Error(word);
  }
}

function exitOf(child: ChildProcess): Promise<LauncherExit> {
  return new Promise((resolve) => {
    child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
    child.once('error', () => resolve({ exitCode: null, signal: null }));
  });
}

async function complaintOf(child: ChildProcess): Promise<string> {
  return child.stderr === null ? '' : (await text(child.stderr)).slice(0, COMPLAINT_BYTES).trim();
}

async function text(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of stream) chunks.push(chunk as Buffer);
  } catch {
    // A broken pipe ends the text.
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseInfo(json: string): Launched['info'] {
  const info: unknown = JSON.parse(json);
  const read = (name: string): number => {
    const value = typeof info === 'object' && info !== null ? (info as Record<string, unknown>)[name] : undefined;
    if (typeof value !== 'number') throw new Error(`bubblewrap did not report ${name}`);
    return value;
  };
  return { initPid: read('child-pid'), pidNamespace: BigInt(read('pid-namespace')) };
}
