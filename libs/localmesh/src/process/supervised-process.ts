import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { LocalFault, stripControl } from '@capstan/protocol';
import { waitUntil } from '../state/wait-until.js';
import type { ProcessRegister } from './process-register.js';

/** Restarts come after 50 ms, then 200, 400, 800: never later than the second that a dead reaper may cost. */
const RESTART_DELAYS_MS = [50, 200, 400, 800];
/** A process that lived this long starts again with the shortest delay. */
const STEADY_MS = 10_000;
const LOG_TAIL_BYTES = 2000;
const MAX_LOG_BYTES = 16 * 1024 * 1024;

export interface ProcessSpec {
  /** Unique in the mesh: "hub", "quay/reaper". */
  name: string;
  command: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
  /** Both given: the process runs as this user. */
  uid?: number;
  gid?: number;
  /** Gets standard output and error. */
  logFile: string;
  /** Answers whether the process serves. */
  isReady: () => boolean | Promise<boolean>;
  /** Signal that asks it to end; default SIGTERM. */
  stopSignal?: NodeJS.Signals;
}

/** One process of the mesh: started, waited for, restarted when it dies unasked, ended. */
export class SupervisedProcess {
  readonly name: string;
  /** How often it was restarted because it had died unasked. */
  restarts = 0;
  private child: ChildProcess | undefined;
  private exited: Promise<void> = Promise.resolve();
  private wanted = false;
  private wasReady = false;
  private restartTimer: NodeJS.Timeout | undefined;
  private quickDeaths = 0;

  constructor(
    private readonly spec: ProcessSpec,
    private readonly register: ProcessRegister,
    private readonly onRestart: (name: string) => void = () => undefined,
  ) {
    this.name = spec.name;
  }

  /** Pid of the running process; undefined while there is none. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** Starts it and resolves once it is ready. @throws LocalFault `process-failed` with the end of its log */
  async start(timeoutMs = 20_000): Promise<void> {
    if (this.wanted) return;
    this.register.checkOpen();
    this.wanted = true;
    this.wasReady = false;
    this.launch();
    if (!(await this.waitReady(timeoutMs))) {
      const ended = this.child === undefined;
      await this.stop(0);
      const why = ended ? 'ended while it started' : `was not ready after ${String(timeoutMs / 1000)} s`;
      throw new LocalFault(
        'process-failed',
        `${this.name} ${why}; its log is ${this.spec.logFile}.`,
        logTail(this.spec.logFile),
      );
    }
    this.wasReady = true;
  }

  /** Resolves with true once it serves (after a restart too); with false where that takes too long. */
  async waitReady(timeoutMs: number): Promise<boolean> {
    const isDone = async (): Promise<boolean> =>
      this.isDead() || (this.pid !== undefined && (await this.spec.isReady()));
    return (await waitUntil(isDone, timeoutMs)) && !this.isDead();
  }

  /** Sends a signal to the process alone. The supervisor restarts it if it dies. */
  kill(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  /** Ends it and waits until it is gone; after `graceMs` with SIGKILL to its whole process group. */
  async stop(graceMs = 12_000): Promise<void> {
    this.wanted = false;
    clearTimeout(this.restartTimer);
    const { child } = this;
    if (child?.pid === undefined) return;
    child.kill(this.spec.stopSignal ?? 'SIGTERM');
    const cut = setTimeout(() => {
      killGroup(child);
    }, graceMs);
    await this.exited;
    clearTimeout(cut);
  }

  private isDead(): boolean {
    return !this.wanted || (!this.wasReady && this.child === undefined);
  }

  private launch(): void {
    const { spec } = this;
    mkdirSync(dirname(spec.logFile), { recursive: true });
    setAsideLong(spec.logFile);
    const log = openSync(spec.logFile, 'a', 0o600);
    const startedAt = performance.now();
    const child = spawn(spec.command, spec.args, {
      cwd: spec.cwd,
      env: { ...spec.env, ...this.register.envOf(spec.name) },
      stdio: ['ignore', log, log],
      // A session of its own: Ctrl-C at the terminal reaches the supervisor only, which ends the parts in order.
      detached: true,
      ...(spec.uid === undefined ? {} : { uid: spec.uid }),
      ...(spec.gid === undefined ? {} : { gid: spec.gid }),
    });
    closeSync(log);
    this.child = child;
    if (child.pid !== undefined) this.register.add(spec.name, child.pid, spec.stopSignal);
    this.exited = new Promise((resolve) => {
      const gone = (): void => {
        if (child.pid !== undefined) this.register.remove(child.pid);
        if (this.child === child) this.child = undefined;
        resolve();
        this.restartIfWanted(performance.now() - startedAt);
      };
      child.once('exit', gone);
      child.once('error', () => {
        if (child.pid === undefined) gone();
      });
    });
  }

  private restartIfWanted(livedMs: number): void {
    if (!this.wanted || !this.wasReady) return;
    this.quickDeaths = livedMs > STEADY_MS ? 0 : this.quickDeaths + 1;
    const delay = RESTART_DELAYS_MS[Math.min(this.quickDeaths, RESTART_DELAYS_MS.length) - 1] ?? 50;
    this.restartTimer = setTimeout(() => {
      if (!this.register.isOpen) return;
      this.restarts += 1;
      this.onRestart(this.name);
      this.launch();
    }, delay);
  }
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}

/** A log that grew long becomes NAME.log.1; the one before that goes. */
function setAsideLong(file: string): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size > MAX_LOG_BYTES) renameSync(file, `${file}.1`);
}

function logTail(file: string): string {
  try {
    return stripControl(readFileSync(file, 'utf8').slice(-LOG_TAIL_BYTES));
  } catch {
    return '';
  }
}
