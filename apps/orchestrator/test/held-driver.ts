import { BubblewrapDriver, type PreparedSandbox, type SandboxSpec } from '@capstan/sandbox';

/** Its sandboxes exist, and what is to run in them never begins: like a harvest that takes for ever. */
export class HeldDriver extends BubblewrapDriver implements AsyncDisposable {
  /** Sandboxes that it was asked for. */
  prepared = 0;
  private readonly first = Promise.withResolvers<void>();
  /** Resolves once there is a sandbox. */
  readonly begun = this.first.promise;
  private readonly sandboxes: PreparedSandbox[] = [];

  override async prepare(spec: SandboxSpec): Promise<PreparedSandbox> {
    this.prepared += 1;
    const sandbox = await super.prepare(spec);
    this.sandboxes.push(sandbox);
    this.first.resolve();
    const go = async (): Promise<void> => {
      await sandbox.exited;
    };
    return Object.assign(sandbox, { go });
  }

  /** Ends those that are left. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const sandbox of this.sandboxes) await sandbox.abort();
  }
}
