import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { newId } from '@capstan/protocol';
import { BubblewrapDriver, signalHandle, waitGone, type PreparedSandbox, type SandboxSpec } from '@capstan/sandbox';

const UID = 234_568;

/** Real sandboxes of one test, all gone when it ends. */
export class Sandboxes implements AsyncDisposable {
  readonly room = mkdtempSync(join(tmpdir(), 'capstan-sandboxes-'));
  private readonly driver = new BubblewrapDriver();
  private readonly made: PreparedSandbox[] = [];

  constructor() {
    if (process.getuid?.() === 0) chownSync(this.room, UID, UID);
  }

  /** Waits for GO; its agent writes `ran` into the room and lives on, whatever it is asked politely. */
  async prepare(changes: Partial<SandboxSpec> = {}): Promise<PreparedSandbox & { agentId: string }> {
    const spec = this.spec(changes);
    const sandbox = await this.driver.prepare(spec);
    sandbox.stdout.resume();
    sandbox.stderr.resume();
    this.made.push(sandbox);
    return Object.assign(sandbox, { agentId: spec.agentId });
  }

  get hasRun(): boolean {
    return existsSync(join(this.room, 'ran'));
  }

  spec(changes: Partial<SandboxSpec> = {}): SandboxSpec {
    return {
      agentId: newId(),
      argv: ['/bin/sh', '-c', STUBBORN],
      env: { PATH: '/usr/bin:/bin' },
      cwd: '/room',
      uid: UID,
      gid: UID,
      mounts: [{ source: this.room, target: '/room', mode: 'rw' }],
      limits: { pids: 64 },
      network: 'none',
      ...changes,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sandbox of this.made) {
      await signalHandle(sandbox.handle);
      await waitGone(sandbox.handle, 5000);
      await sandbox.exited;
      await sandbox.dispose();
    }
    rmSync(this.room, { recursive: true });
  }
}

/** Ignores SIGTERM, forks twice, leaves its session. */
const STUBBORN = `trap '' TERM INT HUP
(setsid sh -c 'trap "" TERM; (sleep 1000 & sleep 1000) >/dev/null 2>&1 </dev/null' &)
echo ran > /room/ran; sleep 1000; sleep 1000`;

/** Polls a condition until it holds. */
export async function until(condition: () => boolean, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('the condition was not met in time');
    await delay(5);
  }
}
