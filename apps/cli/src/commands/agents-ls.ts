import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { table } from '../output/table.js';

/** Agents as their instances last reported them. */
export async function list(output: Output, options: { context?: string; on?: string }): Promise<void> {
  const { client } = await openContext(options);
  const all = await client.agents();
  const agents = all.filter(({ instance }) => options.on === undefined || instance === options.on);
  const rows = agents.map((agent) => [
    agent.agentId,
    agent.instance,
    agent.state,
    agent.harvest?.branch ?? agent.error?.code ?? '',
    `as of ${agent.asOf}`,
  ]);
  output.result(
    'agents',
    { agents },
    agents.length === 0 ? ['No agents yet.'] : table([['AGENT', 'INSTANCE', 'STATE', 'RESULT', ''], ...rows]),
  );
}
