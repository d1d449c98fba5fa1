import { adoptionContract } from './contract/adoption.contract.js';
import { confinementContract } from './contract/confinement.contract.js';
import { diskContract } from './contract/disk.contract.js';
import { killContract } from './contract/kill.contract.js';
import { leftoversContract } from './contract/leftovers.contract.js';
import { limitsContract } from './contract/limits.contract.js';
import { ContractRoom } from './contract/room.js';
import { startContract } from './contract/start.contract.js';
import type { GroupKind } from './contract/support.js';
import { usageContract } from './contract/usage.contract.js';
import type { SandboxDriver } from './port.js';

export interface ContractTerms {
  /** Asked for before each test: a daemon may have to be started first. */
  driver: SandboxDriver | (() => SandboxDriver);
  /** As the driver was made, for a second process that owns the same sandboxes; default none. */
  options?: () => object;
  /** Whether a sandbox goes on when its owner dies after GO, and can be adopted. */
  outlivesOwner: boolean;
  /** Control groups, one of which holds each of its sandboxes where root can make such; default none. */
  groups?: readonly GroupKind[];
  /** Whether the driver must enforce memory, pids and cpus here. */
  limits: boolean;
  /** false leaves the bound of the disk out, which is slow to prove: where it has nothing that another run has not. */
  disk?: boolean;
}

/** What every driver owes: `describe('docker', () => sandboxContract({ driver, … }))`, with real sandboxes. */
export function sandboxContract({
  driver,
  options = () => ({}),
  outlivesOwner,
  groups = [],
  limits,
  disk = true,
}: ContractTerms): void {
  const room = new ContractRoom();
  beforeEach(() => room.begin(typeof driver === 'function' ? driver() : driver));
  afterEach(() => room.end());

  startContract(room);
  confinementContract(room);
  killContract(room, groups);
  leftoversContract(room);
  if (disk) diskContract(room);
  adoptionContract(room, outlivesOwner, options);

  if (limits) {
    limitsContract(room);
    usageContract(room);
  }
}
