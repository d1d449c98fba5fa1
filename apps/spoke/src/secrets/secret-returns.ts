import { Injectable } from '@nestjs/common';
import { Ledger } from '../ledger/ledger.js';
import { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import { Secrets } from './secrets.js';

/** Hands secrets over again to an orchestrator that has lost them by a restart before it could start their agent. */
@Injectable()
export class SecretReturns {
  constructor(
    private readonly orchestrator: OrchestratorClient,
    private readonly ledger: Ledger,
    private readonly secrets: Secrets,
  ) {}

  /** @throws LocalFault `orchestrator-away`; WireFault queue-unavailable, and what the orchestrator refuses */
  async sweep(): Promise<void> {
    for (const agentId of await this.orchestrator.wantedSecrets()) {
      const taken = await this.ledger.takenSpawn(agentId);
      if (taken === undefined) continue;
      await this.orchestrator.spawn(taken.envelope, this.secrets.ofTaken(taken.envelope), taken.admission);
    }
  }
}
