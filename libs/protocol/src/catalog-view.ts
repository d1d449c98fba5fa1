import type { InstanceCatalog } from './gen/capstan/v1/receipt_pb.js';
import { stripControl } from './text.js';

/** What an instance offers, as the API shows it. */
export interface CatalogView {
  instance: string;
  runtimes: string[];
  sandboxes: string[];
  /** As the owner's policy names them. */
  repositories: string[];
  tenants: string[];
  /** Agents that run at once; more wait. */
  concurrency: number;
  /** Most that one agent may spend. */
  budgetMicroUsd: number;
  timeoutMs: number;
  /** Of the instance's software. */
  version: string;
}

/** What the instance says, safe to print. */
export function catalogView(instance: string, catalog: InstanceCatalog): CatalogView {
  return {
    instance,
    runtimes: catalog.runtimes.map(stripControl),
    sandboxes: catalog.sandboxes.map(stripControl),
    repositories: catalog.repositories.map(stripControl),
    tenants: catalog.tenants.map(stripControl),
    concurrency: catalog.concurrency,
    budgetMicroUsd: Number(catalog.budgetMicroUsd),
    timeoutMs: Number(catalog.timeoutMs),
    version: stripControl(catalog.version),
  };
}
