import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { members, signalHandle, waitGone } from '../kill/handle.js';
import type { PreparedSandbox, RunningSandbox, SandboxDriver, SandboxExit, SandboxSpec } from '../port.js';
import { until } from './support.js';

/** Host uid of the contract's agents, where the driver may choose one. */
export const UID = 234_567;

/** One test's sandboxes, and the directory that they see as `/room`. */
export class ContractRoom {
  driver!: SandboxDriver;
  /** The directory on the host. */
  path!: string;
  private readonly open = new Set<RunningSandbox>();

  begin(driver: SandboxDriver): void {
    this.driver = driver;
    this.path = mkdtempSync(join(tmpdir(), 'capstan-contract-'));
    if (process.getuid?.() === 0) chownSync(this.path, UID, UID);
  }

  async end(): Promise<void> {
    for (const sandbox of this.open) {
      await signalHandle(sandbox.handle);
      await waitGone(sandbox.handle, 5000);
      await sandbox.exited;
      await sandbox.dispose();
    }
    this.open.clear();
    rmSync(this.path, { recursive: true });
  }

  spec(script: string, changes: Partial<SandboxSpec> = {}): SandboxSpec {
    return {
      agentId: 'contract',
      argv: ['/bin/sh', '-c', script],
      env: { PATH: '/usr/bin:/bin', HOME: '/tmp' },
      cwd: '/room',
      uid: UID,
      gid: UID,
      mounts: [{ source: this.path, target: '/room', mode: 'rw' }],
      limits: {},
      network: 'none',
      ...changes,
    };
  }

  /** Sees to it that the sandbox is gone when the test has ended. */
  own<T extends RunningSandbox>(sandbox: T): T {
    this.open.add(sandbox);
    return sandbox;
  }

  async prepare(script: string, changes: Partial<SandboxSpec> = {}): Promise<PreparedSandbox> {
    return this.own(await this.driver.prepare(this.spec(script, changes)));
  }

  async run(
    script: string,
    changes?: Partial<SandboxSpec>,
  ): Promise<{ said: string; complained: string; exit: SandboxExit }> {
    const sandbox = await this.prepare(script, changes);
    await sandbox.go();
    const [said, complained, exit] = await Promise.all([text(sandbox.stdout), text(sandbox.stderr), sandbox.exited]);
    return { said, complained, exit };
  }

  /** Resolves once the script is through; its agent lives on. */
  async started(script: string, changes?: Partial<SandboxSpec>): Promise<PreparedSandbox> {
    const sandbox = await this.prepare(`${script}\necho started > /room/started; sleep 1000`, changes);
    await sandbox.go();
    await until(() => existsSync(join(this.path, 'started')));
    return sandbox;
  }

  async killAndSee({ handle }: RunningSandbox): Promise<void> {
    await signalHandle(handle);
    expect(await waitGone(handle, 15_000)).toBe(true);
    expect(members(handle)).toEqual([]);
  }
}
