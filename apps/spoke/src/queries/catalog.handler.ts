import { CAPSTAN_VERSION, create, InstanceCatalogSchema } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { OwnerPolicyFile } from '../policy/owner-policy.js';
import type { ReceiptResult } from '../receipts/receipt.signer.js';

/** Query instance.catalog: what the owner's policy offers at this moment. */
@Injectable()
export class CatalogHandler {
  constructor(private readonly policy: OwnerPolicyFile) {}

  /** @throws LocalFault `policy-unreadable`, `policy-invalid` */
  async answer(): Promise<ReceiptResult> {
    const { spawn } = await this.policy.current();
    const value = create(InstanceCatalogSchema, {
      runtimes: [...spawn.runtimes],
      sandboxes: [...spawn.sandboxes],
      repositories: [...spawn.repositories],
      tenants: [...spawn.tenants],
      concurrency: spawn.concurrency,
      budgetMicroUsd: BigInt(spawn.budgetMicroUsd),
      timeoutMs: BigInt(spawn.timeoutMs),
      version: CAPSTAN_VERSION,
    });
    return { case: 'catalog', value };
  }
}
