import type { Logger } from '@capstan/platform';
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
import { HARVEST_SCRIPT, harvestMounts, LEFT_OUT } from './harvest-script.js';
import { HARVEST_LIMITS, type Harvest, type HarvestLimits } from './harvest-limits.js';
import { HarvestInterrupted, isCutOff, isInterruption } from './harvest-interrupted.js';
import type { HeldHarvest } from './held-harvest.js';
import { holdPack } from './import-pack.js';
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
  logger?: Logger;
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
  await using held = await holdHarvest(order);
  await held.keep();
  return { tree: held.tree, files: held.files };
}

/** As `harvest`, but what was taken stays in a quarantine until it is kept. */
export async function holdHarvest(order: HarvestOrder): Promise<HeldHarvest> {
  const held = await holdAny(order, 'all');
  if (held === undefined) throw new WireFault('agent-no-change');
  return held;
}

/** `sound`: repositories inside and files that cannot be read are left out; `unruled`: instructions for submodules too. */
export type HarvestPart = 'all' | 'sound' | 'unruled';

/** As `holdHarvest`; undefined where nothing changed. @param part of what is there. */
export async function holdAny(order: HarvestOrder, part: HarvestPart): Promise<HeldHarvest | undefined> {
  const limits = { ...HARVEST_LIMITS, ...order.limits };
  await checkWorktree(order.worktree);
  order.signal?.throwIfAborted();
  const sandbox = await order.driver.prepare(specOf(order, part, limits));
  const stop = (): void => kill(sandbox, order);
  let isLate = false;
  // Again and again, for what could not be signalled.
  const timer = setInterval(() => {
    isLate = true;
    stop();
  }, limits.timeoutMs);
  order.signal?.addEventListener('abort', stop, { once: true });
  try {
    order.signal?.throwIfAborted();
    return await receive(order, sandbox, limits, part, () => isLate);
  } finally {
    clearInterval(timer);
    order.signal?.removeEventListener('abort', stop);
    await end(sandbox);
  }
}

async function receive(
  order: HarvestOrder,
  sandbox: PreparedSandbox,
  limits: HarvestLimits,
  part: HarvestPart,
  isLate: () => boolean,
): Promise<HeldHarvest | undefined> {
  const { repository, worktree } = order;
  const complaint = firstBytes(sandbox.stderr);
  await sandbox.go();
  const imported = holdPack({
    repository,
    base: worktree.commit,
    stream: sandbox.stdout,
    limits,
    links: part === 'all' ? 'refuse' : 'drop',
  });
  // Nobody reads on: without this it would wait for room in the pipe until its time is up.
  imported.catch(() => kill(sandbox, order));
  const [result, exit] = await Promise.allSettled([imported, sandbox.exited]);
  const said = await complaint;
  if (exit.status === 'fulfilled' && exit.value.exitCode === 0 && result.status === 'fulfilled') {
    const left = leftOut(said);
    if (result.value === undefined && left.length > 0)
      throw new WireFault('harvest-refused', `all that was changed is too large: ${left.join(', ')}`);
    return left.length === 0 ? result.value : result.value?.without(left);
  }
  if (result.status === 'fulfilled') await result.value?.[Symbol.asyncDispose]();
  // A pack that stops in the middle is explained by what git said inside.
  const cause: unknown = result.status === 'rejected' ? result.reason : undefined;
  if (cause instanceof LocalFault) throw cause;
  const why = cause instanceof WireFault ? (cause.detail ?? '') : cause instanceof Error ? cause.message : '';
  const how = exit.status === 'fulfilled' ? endText(exit.value) : '';
  const detail = [why, said, how].filter((each) => each !== '').join('; ');
  const isEndless = isLate() || exit.status === 'rejected' || isInterruption(exit.value);
  if (isCutOff(cause) && isEndless) throw new HarvestInterrupted(detail, { cause });
  throw new WireFault('harvest-refused', detail, { cause });
}

function specOf(
  { repository, worktree, uid, gid }: HarvestOrder,
  part: HarvestPart,
  { fileBytes }: HarvestLimits,
): SandboxSpec {
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
      String(fileBytes),
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

/** Nobody waits for it: what fails is tried again when its time is up, and at its end. */
function kill({ handle }: PreparedSandbox, { worktree: { agentId }, logger }: HarvestOrder): void {
  signalHandle(handle).catch((error: unknown) => {
    logger?.error({ err: error, agentId, msg: 'a harvest could not be ended yet' });
  });
}

async function end(sandbox: PreparedSandbox): Promise<void> {
  await sandbox.abort();
  await signalHandle(sandbox.handle);
  await sandbox.exited;
  await waitGone(sandbox.handle, 10_000);
  await sandbox.dispose();
}

const leftOut = (said: string): string[] =>
  said.split('\n').flatMap((line) => (line.startsWith(LEFT_OUT) ? [line.slice(LEFT_OUT.length)] : []));

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
