import { connectionOf } from '../connection-of.js';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';

/** What an instance offers at this moment, asked through the hub. */
export async function catalog(output: Output, instance: string, options: { context?: string }): Promise<void> {
  const { client } = await openContext(options);
  const offer = await client.catalog(await connectionOf(client, instance));
  output.result('catalog', { catalog: offer }, [
    `${offer.instance}, version ${offer.version}`,
    `  runtimes      ${offer.runtimes.join(', ')}`,
    `  sandboxes     ${offer.sandboxes.join(', ')}`,
    `  repositories  ${offer.repositories.join(', ')}`,
    `  tenants       ${offer.tenants.join(', ')}`,
    `  at once       ${String(offer.concurrency)} agents; more wait`,
    `  per agent     $${(offer.budgetMicroUsd / 1_000_000).toFixed(2)}, ${String(offer.timeoutMs / 1000)} s`,
  ]);
}
