import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import type { ProcessRegister } from '../process/process-register.js';
import { builtFile, pinnedNode } from '../state/checkout.js';

/**
 * Waits on a pipe whose other end the supervisor alone holds: a line means "all is done", end of file means that the
 * supervisor is gone. A shell, because it waits in 1 MB, where Node needs 40.
 */
const WAIT = 'if read -r _; then exit 0; fi; exec "$@"';
const RESTART_MS = 200;
const DISMISS_MS = 2000;

export interface GuardianOptions {
  stateDir: string;
  isTemporary: boolean;
  logFile: string;
  env: Readonly<Record<string, string>>;
  register: ProcessRegister;
}

/**
 * A tiny process that takes the mesh down when its supervisor cannot: SIGKILL, out of memory, a crash. Without it the
 * agents of a lost supervisor would go on working until the next start.
 */
export class Guardian {
  private child: ChildProcess | undefined;
  private isDismissed = false;
  private restartTimer: NodeJS.Timeout | undefined;

  private constructor(private readonly options: GuardianOptions) {}

  /** @throws LocalFault `not-built` */
  static post(options: GuardianOptions): Guardian {
    const guardian = new Guardian(options);
    guardian.launch();
    return guardian;
  }

  /** Undefined for the moment in which it is being replaced. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** Tells it that nothing is left to guard, and waits until it is gone. */
  async dismiss(): Promise<void> {
    this.isDismissed = true;
    clearTimeout(this.restartTimer);
    const { child } = this;
    if (child === undefined) return;
    const exited = once(child, 'exit');
    child.stdin?.end('done\n');
    const cut = setTimeout(() => child.kill('SIGKILL'), DISMISS_MS);
    await exited;
    clearTimeout(cut);
  }

  private launch(): void {
    const { stateDir, isTemporary, logFile, env, register } = this.options;
    const successor = [pinnedNode(), builtFile('libs/localmesh/src/guardian/main.js'), stateDir];
    if (isTemporary) successor.push('temporary');
    const log = openSync(logFile, 'a', 0o600);
    const child = spawn('/bin/sh', ['-c', WAIT, 'capstan-guardian', ...successor], {
      cwd: '/',
      env: { ...env },
      stdio: ['pipe', log, log],
      // A session of its own: what ends the terminal's processes must not end the one that cleans up after them.
      detached: true,
    });
    closeSync(log);
    this.child = child;
    // It may die between our word and its reading.
    child.stdin?.on('error', () => undefined);
    if (child.pid !== undefined) register.addGuardian(child.pid);
    const gone = (): void => {
      if (child.pid !== undefined) register.remove(child.pid);
      this.child = undefined;
      if (!this.isDismissed) this.relaunch();
    };
    child.once('exit', gone);
    child.once('error', () => {
      if (child.pid === undefined) gone();
    });
  }

  private relaunch(): void {
    this.restartTimer = setTimeout(() => {
      try {
        this.launch();
      } catch {
        // A build that is under way takes its file away for a moment.
        this.relaunch();
      }
    }, RESTART_MS);
  }
}
