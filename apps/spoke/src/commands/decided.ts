import { WireFault } from '@capstan/protocol';
import type { Recorded } from '../ledger/ledger.js';
import type { Reply } from '../link/reply.js';

/**
 * Answers what the ledger's step has found, for an order that is not to be executed any further. A command that came
 * twice at once is answered with the outcome of the first.
 *
 * @throws WireFault expired where the entry of this command may have been pruned
 */
export function acknowledgeRecorded(recorded: Recorded, digest: Uint8Array, reply: Reply): void {
  switch (recorded.kind) {
    case 'recorded':
      reply.acknowledge(digest);
      return;
    case 'known':
      reply.acknowledge(digest);
      reply.stored(recorded.command.receipt);
      return;
    case 'pruned':
      throw new WireFault('expired', 'from before what was pruned');
    case 'agent-exists':
      throw new WireFault('agent-exists');
  }
}
