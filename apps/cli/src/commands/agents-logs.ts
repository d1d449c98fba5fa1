import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';

/** A page of what an agent, its tools and its model said. */
export async function logs(
  output: Output,
  id: string,
  options: { context?: string; after?: number; limit: number },
): Promise<void> {
  const { client } = await openContext(options);
  const page = await client.logs(id, {
    limit: options.limit,
    ...(options.after === undefined ? {} : { after: options.after }),
  });
  const gap = page.gap ? ['(earlier lines were dropped)'] : [];
  const lines = page.lines.map(({ at, source, text }) => `${at}  ${source.padEnd(6)}  ${text}`);
  output.result('logs', { agentId: id, ...page }, [...gap, ...lines]);
}
