import { createLogger } from '@capstan/platform';
import { CAPSTAN_VERSION, create, InstanceCatalogSchema } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import { OwnerPolicyFile } from '../policy/owner-policy.js';
import type { ReceiptResult } from '../receipts/receipt.signer.js';

/** Query instance.catalog: what the owner's policy offers at this moment; of its sandboxes those that work. */
@Injectable()
export class CatalogHandler {
  private readonly log = createLogger('spoke.catalog');

  constructor(
    private readonly policy: OwnerPolicyFile,
    private readonly orchestrator: OrchestratorClient,
  ) {}

  /** @throws LocalFault `policy-unreadable`, `policy-invalid` */
  async answer(): Promise<ReceiptResult> {
    const { spawn } = await this.policy.current();
    const value = create(InstanceCatalogSchema, {
      runtimes: [...spawn.runtimes],
      sandboxes: await this.working(spawn.sandboxes),
      repositories: [...spawn.repositories],
      tenants: [...spawn.tenants],
      concurrency: spawn.concurrency,
      budgetMicroUsd: BigInt(spawn.budgetMicroUsd),
      timeoutMs: BigInt(spawn.timeoutMs),
      version: CAPSTAN_VERSION,
    });
    return { case: 'catalog', value };
  }

  /** With the orchestrator away nobody knows; spawns wait for it then. */
  private async working(allowed: readonly string[]): Promise<string[]> {
    try {
      const working = await this.orchestrator.sandboxes();
      return allowed.filter((name) => working.includes(name));
    } catch (err) {
      this.log.debug({ err, msg: 'the orchestrator does not say which sandboxes work' });
      return [...allowed];
    }
  }
}
