import { readFileSync } from 'node:fs';
import { closeValkey, connectValkey } from '@capstan/platform';
import { commandOf, cpuMs, pssMb, treeOf } from './processes.ts';

/** What belongs to an instance itself; the agents' own processes do not. */
const OWN = /apps\/(?:spoke|orchestrator)\/src\/|(?:valkey|redis)-server/;

/** Spoke, orchestrator, reaper and Valkey of a mesh with one instance, whatever its agents do. */
export class Footprint {
  private readonly pids: number[];
  private readonly cpuBeforeMs: number;
  private readonly startedAt = performance.now();

  /** @param supervisorPid the process that launched the mesh */
  constructor(supervisorPid: number) {
    this.pids = treeOf(supervisorPid).filter((pid) => OWN.test(commandOf(pid)));
    this.cpuBeforeMs = this.cpuMs();
  }

  /** Proportional set size now, in MB. */
  memoryMb(): number {
    return this.pids.reduce((sum, pid) => sum + pssMb(pid), 0);
  }

  /** Cores that were busy on average since this object was made: 0.5 is half of one core. */
  cores(): number {
    return (this.cpuMs() - this.cpuBeforeMs) / (performance.now() - this.startedAt);
  }

  /** Connections to the instance's Valkey, as it counts them, without the one that asks. */
  async valkeyConnections(): Promise<number> {
    const orchestrator = this.pids.find((pid) => commandOf(pid).includes('apps/orchestrator/src/main'));
    const environment = readFileSync(`/proc/${String(orchestrator)}/environ`, 'utf8').split('\0');
    const url = environment.find((line) => line.startsWith(VALKEY_URL))?.slice(VALKEY_URL.length);
    const client = await connectValkey(url ?? '');
    try {
      return Number(/^connected_clients:(\d+)/m.exec(await client.info('clients'))?.[1] ?? Number.NaN) - 1;
    } finally {
      await closeValkey(client);
    }
  }

  private cpuMs(): number {
    return this.pids.reduce((sum, pid) => sum + cpuMs(pid), 0);
  }
}

const VALKEY_URL = 'CAPSTAN_VALKEY_URL=';
