import { BubblewrapDriver, type PreparedSandbox, type SandboxSpec } from '@capstan/sandbox';

/** Its sandboxes exist, and what is to run in them does not begin until it is released: like a harvest that takes for ever. */
export class HeldDriver extends BubblewrapDriver implements AsyncDisposable {
  /** Sandboxes that it was asked for. */
  prepared = 0;
  /** Most of them that were there together. */
  atOnce = 0;
  private living = 0;
  private readonly first = Promise.withResolvers<void>();
  private readonly released = Promise.withResolvers<'released'>();
  /** Resolves once there is a sandbox. */
  readonly begun = this.first.promise;
  private readonly sandboxes: PreparedSandbox[] = [];

  override async prepare(spec: SandboxSpec): Promise<PreparedSandbox> {
    this.prepared += 1;
    this.living += 1;
    this.atOnce = Math.max(this.atOnce, this.living);
    const sandbox = await super.prepare(spec);
    void sandbox.exited.then(() => (this.living -= 1));
    this.sandboxes.push(sandbox);
    this.first.resolve();
    const begin = sandbox.go.bind(sandbox);
    const go = async (): Promise<void> => {
      if ((await Promise.race([this.released.promise, sandbox.exited])) === 'released') await begin();
    };
    return Object.assign(sandbox, { go });
  }

  /** What is to run in them begins, here and in those to come. */
  release(): void {
    this.released.resolve('released');
  }

  /** Ends those that are left. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const sandbox of this.sandboxes) await sandbox.abort();
  }
}
