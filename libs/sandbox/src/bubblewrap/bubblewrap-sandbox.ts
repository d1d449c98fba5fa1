import { PassThrough, type Readable } from 'node:stream';
import { removeControlGroups } from '../cgroup/agent-groups.js';
import { hasRunOutOfMemory } from '../cgroup/out-of-memory.js';
import type { DiskWatch } from '../disk/disk-watch.js';
import { isGone, signalHandle, waitGone, type KillHandle } from '../kill/handle.js';
import type { DiskUse, Enforcement, PreparedSandbox, SandboxExit } from '../port.js';
import { SandboxFault } from '../sandbox-fault.js';
import type { Launched } from './launch.js';

const ABORT_PATIENCE_MS = 2000;

/** One launched bubblewrap, from its gate to its end. */
export class BubblewrapSandbox implements PreparedSandbox {
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<SandboxExit>;
  private gate: 'shut' | 'open' | 'aborted' | 'gone' = 'shut';

  constructor(
    private readonly launched: Launched,
    readonly handle: KillHandle,
    readonly enforced: Enforcement,
    /** Its control groups; any one names them all. */
    private readonly groups: readonly string[],
    private readonly disk: DiskWatch | undefined,
  ) {
    const { stdout, stderr } = launched.child;
    if (stdout === null || stderr === null) throw new SandboxFault('sandbox-failed', 'The sandbox has no output.');
    // Node throws away what a child has written and nobody has begun to read when it ends; a harvest may end that fast.
    this.stdout = stdout.pipe(new PassThrough());
    this.stderr = stderr.pipe(new PassThrough());
    this.exited = launched.exited.then((exit) => ({
      ...exit,
      outOfMemory: hasRunOutOfMemory(groups),
      ...disk?.end(),
    }));
    void this.exited.then(() => {
      if (this.gate === 'shut') this.gate = 'gone';
      launched.gate.destroy();
    });
  }

  get diskUse(): DiskUse | undefined {
    return this.disk?.last;
  }

  async go(): Promise<void> {
    if (this.gate !== 'shut') throw new SandboxFault('sandbox-gone', 'The agent can no longer be started.', this.gate);
    this.gate = 'open';
    await new Promise<void>((resolve, reject) => {
      const fail = (cause?: unknown) =>
        reject(new SandboxFault('sandbox-gone', 'The agent can no longer be started.', '', { cause }));
      this.launched.gate.once('close', fail);
      this.launched.gate.write('GO\n', (error) => {
        this.launched.gate.off('close', fail);
        if (error) fail(error);
        else resolve();
      });
    });
    this.disk?.begin();
  }

  async abort(): Promise<void> {
    if (this.gate === 'shut') {
      this.gate = 'aborted';
      this.launched.gate.destroy();
      // The end of file is enough; the signal is for a host on which it was not.
      if (!(await waitGone(this.handle, ABORT_PATIENCE_MS))) await signalHandle(this.handle);
    }
    if (this.gate === 'aborted') await this.exited;
  }

  async dispose(): Promise<void> {
    if (!isGone(this.handle)) throw new SandboxFault('sandbox-busy', 'The agent still lives.');
    await removeControlGroups(this.groups[0] ?? '');
  }
}
