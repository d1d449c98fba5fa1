import type { AgentPageView, HubClient } from '@capstan/localmesh';
import { LocalFault } from '@capstan/protocol';
import { connectionOf } from '../connection-of.js';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { table } from '../output/table.js';
import { vitalCells } from '../output/vitals.js';

/** More than this is no list for people; the API gives all of them, by pages. */
const MOST_PAGES = 20;

/** The agents of an instance as it knows them at this moment. @throws LocalFault `usage` where none is named */
export async function listLive(
  output: Output,
  instance: string | undefined,
  options: { context?: string },
): Promise<void> {
  if (instance === undefined) throw new LocalFault('usage', '--live needs --on INSTANCE.');
  const { client } = await openContext(options);
  const { agents, isAll } = await allPages(client, await connectionOf(client, instance));
  const rows = agents.map(({ agentId, state, harvest, error, queuedAt, vitals }) => [
    agentId,
    vitals?.stalled ? `${state} (stalled)` : state,
    harvest?.branch ?? error?.code ?? '',
    ...vitalCells(vitals),
    queuedAt ?? '',
  ]);
  const head = ['AGENT', 'STATE', 'RESULT', 'CPU', 'MEMORY', 'LAST PROGRESS', 'QUEUED'];
  const lines = rows.length === 0 ? ['No agents.'] : table([head, ...rows]);
  output.result('agents', { instance, live: true, agents, complete: isAll }, [
    ...lines,
    ...(isAll ? [] : ['(older ones are not shown)']),
  ]);
}

async function allPages(
  client: HubClient,
  connection: string,
): Promise<Pick<AgentPageView, 'agents'> & { isAll: boolean }> {
  const agents: AgentPageView['agents'] = [];
  let after = '';
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const answer = await client.agentPage(connection, after === '' ? {} : { after });
    agents.push(...answer.agents);
    if (answer.next === '') return { agents, isAll: true };
    after = answer.next;
  }
  return { agents, isAll: false };
}
