import { LocalFault, WireFault } from '@capstan/protocol';
import {
  signalHandle,
  waitGone,
  type PreparedSandbox,
  type SandboxExit,
  type SandboxDriver,
  type SandboxSpec,
} from '@capstan/sandbox';
import type { BareRepository } from './bare-repository.js';
import { HARVEST_SCRIPT, harvestMounts } from './harvest-script.js';
import { HARVEST_LIMITS, type Harvest, type HarvestLimits } from './harvest-limits.js';
import { importPack } from './import-pack.js';
import { checkWorktree, type Worktree } from './worktree.js';

const MEMORY_BYTES = 1024 * 1024 * 1024;
const PIDS = 64;

export interface HarvestOrder {
  repository: BareRepository;
  worktree: Worktree;
  driver: SandboxDriver;
  /** The agent's own ids. */
  uid: number;
  gid: number;
  limits?: Partial<HarvestLimits>;
  /** Ends it before its time. */
  signal?: AbortSignal;
}

/**
 * Takes in what an agent left in its work tree. What is to be committed is taken when every process of the agent was
 * observed gone; before that, it is a trial: a living agent can at most make its own copy inconsistent.
 *
 * A fresh sandbox with the agent's uid adds the files to an index and writes objects to memory; the host imports one
 * pack from it, checked as a stranger's push would be.
 *
 * @throws {WireFault} `harvest-refused` (what cannot be taken, or is too much), `agent-no-change`
 * @throws SandboxFault
 */
export async function harvest(order: HarvestOrder): Promise<Harvest> {
  const harvested = await harvestAny(order, 'all');
  if (harvested === undefined) throw new WireFault('agent-no-change');
  return harvested;
}

/** `sound`: repositories inside and files that cannot be read are left out; `unruled`: instructions for submodules too. */
export type HarvestPart = 'all' | 'sound' | 'unruled';

/** As `harvest`; undefined where nothing changed. @param part of what is there. */
export async function harvestAny(order: HarvestOrder, part: HarvestPart): Promise<Harvest | undefined> {
  const limits = { ...HARVEST_LIMITS, ...order.limits };
  await checkWorktree(order.worktree);
  const sandbox = await order.driver.prepare(specOf(order, part));
  const stop = (): void => void signalHandle(sandbox.handle);
  const timer = setTimeout(stop, limits.timeoutMs);
  order.signal?.addEventListener('abort', stop, { once: true });
  try {
    order.signal?.throwIfAborted();
    return await receive(order, sandbox, limits, part);
  } finally {
    clearTimeout(timer);
    order.signal?.removeEventListener('abort', stop);
    await end(sandbox);
  }
}

async function receive(
  { repository, worktree }: HarvestOrder,
  sandbox: PreparedSandbox,
  limits: HarvestLimits,
  part: HarvestPart,
): Promise<Harvest | undefined> {
  const complaint = firstBytes(sandbox.stderr);
  await sandbox.go();
  const imported = importPack({
    repository,
    base: worktree.commit,
    stream: sandbox.stdout,
    limits,
    links: part === 'all' ? 'refuse' : 'drop',
  });
  // Nobody reads on: without this it would wait for room in the pipe until its time is up.
  imported.catch(() => void signalHandle(sandbox.handle));
  const [result, exit] = await Promise.allSettled([imported, sandbox.exited]);
  const said = await complaint;
  if (exit.status === 'fulfilled' && exit.value.exitCode === 0 && result.status === 'fulfilled') return result.value;
  // A pack that stops in the middle is explained by what git said inside.
  const cause: unknown = result.status === 'rejected' ? result.reason : undefined;
  if (cause instanceof LocalFault) throw cause;
  const why = cause instanceof WireFault ? (cause.detail ?? '') : cause instanceof Error ? cause.message : '';
  const how = exit.status === 'fulfilled' ? endText(exit.value) : '';
  throw new WireFault('harvest-refused', [why, said, how].filter((part) => part !== '').join('; '), { cause });
}

function specOf({ repository, worktree, uid, gid }: HarvestOrder, part: HarvestPart): SandboxSpec {
  return {
    agentId: worktree.agentId,
    argv: [
      '/bin/sh',
      '-c',
      HARVEST_SCRIPT,
      'capstan-harvest',
      worktree.commit,
      part === 'all' ? '' : '--ignore-errors',
      part === 'unruled' ? '.gitmodules' : '',
    ],
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/nonexistent', LC_ALL: 'C' },
    cwd: '/',
    uid,
    gid,
    mounts: harvestMounts(worktree.dir, repository.dir),
    limits: { memoryBytes: MEMORY_BYTES, pids: PIDS },
    network: 'none',
    tmpfs: ['/harvest'],
  };
}

async function end(sandbox: PreparedSandbox): Promise<void> {
  await sandbox.abort();
  await signalHandle(sandbox.handle);
  await sandbox.exited;
  await waitGone(sandbox.handle, 10_000);
  await sandbox.dispose();
}

async function firstBytes(stream: AsyncIterable<unknown>): Promise<string> {
  let text = '';
  try {
    for await (const chunk of stream) if (text.length < 4096) text += String(chunk);
  } catch {
    // What was said until then is enough.
  }
  return text.trim().slice(0, 2000);
}

/** How it ended, where it did not end well. */
function endText({ exitCode, signal }: SandboxExit): string {
  if (exitCode === 0) return '';
  return signal === null ? `git ended with code ${String(exitCode)}` : `git was ended by ${signal}`;
}
