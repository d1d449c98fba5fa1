import type { KillHandle } from './kill/handle.js';
import type { AdoptedSandbox, PreparedSandbox, SandboxDriver, SandboxProbe, SandboxSpec } from './port.js';
import { SandboxFault } from './sandbox-fault.js';

/** Several drivers as one: a spec names the one that it wants, else it gets the first. */
export class SandboxDrivers implements SandboxDriver {
  constructor(private readonly drivers: readonly [SandboxDriver, ...SandboxDriver[]]) {}

  get name(): SandboxDriver['name'] {
    return this.drivers[0].name;
  }

  /** Their names, the default first. */
  get names(): string[] {
    return this.drivers.map(({ name }) => name);
  }

  /** Of the first. */
  probe(): Promise<SandboxProbe> {
    return this.drivers[0].probe();
  }

  /** Of each, the default first. */
  probeEach(): { name: string; probe: Promise<SandboxProbe> }[] {
    return this.drivers.map((driver) => ({ name: driver.name, probe: driver.probe() }));
  }

  /** Throws SandboxFault `sandbox-spec` where no such driver is here, never taking another one instead. */
  async prepare(spec: SandboxSpec): Promise<PreparedSandbox> {
    const driver = this.drivers.find(({ name }) => spec.driver === undefined || spec.driver === name);
    if (driver === undefined) {
      throw new SandboxFault('sandbox-spec', 'This instance has no such sandbox.', spec.driver);
    }
    return driver.prepare(spec);
  }

  async adopt(agentId: string, handle: KillHandle): Promise<AdoptedSandbox | undefined> {
    return this.drivers.find(({ name }) => name === handle.driver)?.adopt(agentId, handle);
  }

  async removeLeftovers(agentId: string): Promise<number[]> {
    return (await this.ofAll((driver) => driver.removeLeftovers(agentId))).flat();
  }

  /** As `agentsWithSandboxes`, by the drivers that answer; why the others do not. */
  async agentsFound(): Promise<{ agents: string[]; faults: unknown[] }> {
    const answers = await Promise.allSettled(this.drivers.map((driver) => driver.agentsWithSandboxes()));
    const agents = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    const faults = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []));
    return { agents: [...new Set(agents)], faults };
  }

  async agentsWithSandboxes(): Promise<string[]> {
    return [...new Set((await this.ofAll((driver) => driver.agentsWithSandboxes())).flat())];
  }

  /** Each is asked, whatever the others say; then the first fault counts. */
  private async ofAll<T>(ask: (driver: SandboxDriver) => Promise<T>): Promise<T[]> {
    const answers = await Promise.allSettled(this.drivers.map(ask));
    return answers.map((answer) => {
      if (answer.status === 'rejected') throw answer.reason;
      return answer.value;
    });
  }
}
