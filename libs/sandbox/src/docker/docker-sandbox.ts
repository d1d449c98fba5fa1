import { setTimeout as delay } from 'node:timers/promises';
import type { Readable } from 'node:stream';
import type { DiskWatch } from '../disk/disk-watch.js';
import { isGone, signalHandle, waitGone, type KillHandle } from '../kill/handle.js';
import { hasProcess } from '../kill/process.js';
import type { AdoptedSandbox, DiskUse, Enforcement, PreparedSandbox, SandboxExit } from '../port.js';
import { SandboxFault } from '../sandbox-fault.js';
import type { Daemon } from './daemon.js';
import type { Gate } from './gate.js';

const ABORT_PATIENCE_MS = 2000;
/** Docker tells of an end within milliseconds of it; one that says nothing for so long is not waited for. */
const WORD_PATIENCE_MS = 5000;
const FIRST_LOOK_MS = 50;
const SLOWEST_LOOK_MS = 500;

/** One container, from its gate to its end. */
export class DockerSandbox implements PreparedSandbox {
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<SandboxExit>;
  private state: 'shut' | 'open' | 'aborted' | 'gone' = 'shut';

  constructor(
    private readonly daemon: Daemon,
    private readonly id: string,
    private readonly gate: Gate,
    private readonly env: Readonly<Record<string, string>>,
    readonly handle: KillHandle,
    readonly enforced: Enforcement,
    outputs: { stdout: Readable; stderr: Readable },
    exited: Promise<SandboxExit>,
    private readonly disk: DiskWatch | undefined,
  ) {
    this.stdout = outputs.stdout;
    this.stderr = outputs.stderr;
    this.exited = exited.then((exit) => {
      if (this.state === 'shut') this.state = 'gone';
      gate.shut();
      return { ...exit, ...disk?.end() };
    });
  }

  get diskUse(): DiskUse | undefined {
    return this.disk?.last;
  }

  async go(): Promise<void> {
    if (this.state === 'shut' && isGone(this.handle)) this.state = 'gone';
    if (this.state !== 'shut') throw tooLate(this.state);
    this.state = 'open';
    try {
      await this.gate.open(this.env);
    } catch (cause) {
      throw tooLate('', cause);
    }
    this.disk?.begin();
  }

  async abort(): Promise<void> {
    if (this.state === 'shut') {
      this.state = 'aborted';
      this.gate.shut();
      // The end of file is enough; the signal is for a host on which it was not.
      if (!(await waitGone(this.handle, ABORT_PATIENCE_MS))) await signalHandle(this.handle);
    }
    if (this.state === 'aborted') await this.exited;
  }

  async dispose(): Promise<void> {
    await removeContainer(this.handle, this.daemon, this.id, this.gate);
  }
}

/** A container whose former owner has died after GO: it is read, watched and removed as if it were our own. */
export class AdoptedContainer implements AdoptedSandbox {
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<SandboxExit>;

  constructor(
    private readonly daemon: Daemon,
    private readonly id: string,
    private readonly gate: Gate,
    readonly handle: KillHandle,
    outputs: { stdout: Readable; stderr: Readable },
    exited: Promise<SandboxExit>,
    private readonly disk: DiskWatch | undefined,
    private readonly released: AbortController,
  ) {
    this.stdout = outputs.stdout;
    this.stderr = outputs.stderr;
    disk?.begin();
    this.exited = exited.then((exit) => ({ ...exit, ...disk?.end() }));
  }

  get diskUse(): DiskUse | undefined {
    return this.disk?.last;
  }

  release(): void {
    this.released.abort();
    this.disk?.end();
    for (const output of [this.stdout, this.stderr]) output.destroy();
  }

  async dispose(): Promise<void> {
    await removeContainer(this.handle, this.daemon, this.id, this.gate);
  }
}

async function removeContainer(handle: KillHandle, daemon: Daemon, id: string, gate: Gate): Promise<void> {
  if (!isGone(handle)) throw new SandboxFault('sandbox-busy', 'The agent still lives.');
  await daemon.remove(id);
  await gate.remove();
}

/** Of a container that runs still, for a Docker that has not noticed its end, or that is nobody's business any more. */
const UNTOLD: SandboxExit = { exitCode: null, signal: null, outOfMemory: false };

/**
 * How the container ended, by Docker's word; where that one hangs or was restarted, by the host's own processes, which tell
 * that it ended and not how.
 *
 * @param released nobody waits for it any more
 */
export async function exitOf(
  daemon: Daemon,
  id: string,
  { processes }: KillHandle,
  hasMemoryLimit: boolean,
  released?: AbortSignal,
): Promise<SandboxExit> {
  const stop = new AbortController();
  released?.addEventListener('abort', () => stop.abort(), { once: true });
  const since = Date.now();
  const word = daemon.ended(id, stop.signal).then(
    () => true,
    () => false,
  );
  const isTold = await Promise.race([word, untilGone(processes, stop.signal)]);
  if (!isTold) await untilGone(processes, stop.signal);
  if (released?.aborted === true) return UNTOLD;
  const told = await Promise.race([
    stateOf(daemon, id),
    delay(WORD_PATIENCE_MS, undefined, { signal: stop.signal }).catch(() => undefined),
  ]);
  stop.abort();
  if (told === undefined || told.running) return UNTOLD;
  const isAsked = hasMemoryLimit && told.exitCode !== 0 && !told.outOfMemory;
  const outOfMemory = told.outOfMemory || (isAsked && (await hasRunOutOfMemory(daemon, id, since)));
  return { exitCode: told.exitCode, signal: null, outOfMemory };
}

/** Docker may note that the memory was used up a moment after the end that followed from it. */
async function hasRunOutOfMemory(daemon: Daemon, id: string, since: number): Promise<boolean> {
  for (let pause = 20; pause < 400; pause *= 2) {
    if (await daemon.hasRunOutOfMemory(id, since).catch(() => false)) return true;
    await delay(pause);
  }
  return false;
}

/** Asks until Docker has noticed the end itself. */
async function stateOf(daemon: Daemon, id: string): ReturnType<Daemon['inspect']> {
  const deadline = performance.now() + WORD_PATIENCE_MS;
  for (let pause = 10; ; pause *= 2) {
    const state = await daemon.inspect(id).catch(() => undefined);
    if (state?.running === false || performance.now() > deadline) return state;
    await delay(pause);
  }
}

async function untilGone(processes: KillHandle['processes'], signal: AbortSignal): Promise<false> {
  let pause = FIRST_LOOK_MS;
  while (!signal.aborted && processes.some(hasProcess)) {
    await delay(pause, undefined, { signal }).catch(() => undefined);
    pause = Math.min(pause * 1.5, SLOWEST_LOOK_MS);
  }
  return false;
}

function tooLate(detail: string, cause?: unknown): SandboxFault {
  return new SandboxFault('sandbox-gone', 'The agent can no longer be started.', detail, { cause });
}
