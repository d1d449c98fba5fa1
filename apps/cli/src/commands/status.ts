import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { conflictLines } from '../output/spoke-lines.js';
import { stoppableText } from '../output/stoppable-text.js';
import { table } from '../output/table.js';

/** The hub, its instances and its agents. @throws LocalFault `hub-unreachable` */
export async function status(output: Output, options: { context?: string }): Promise<void> {
  const { context, client } = await openContext(options);
  const [hub, connections, agents] = await Promise.all([client.instance(), client.connections(), client.agents()]);
  const counts = new Map<string, number>();
  for (const { state } of agents) counts.set(state, (counts.get(state) ?? 0) + 1);
  output.result(
    'status',
    {
      hub: { id: hub.id, displayName: hub.displayName, url: context.hubUrl, tokenFile: context.tokenFile },
      instances: connections.map(({ instanceId, state, online, stoppable, lastSeenAt, auditConflict }) => ({
        id: instanceId,
        state,
        online,
        stoppable,
        lastSeenAt,
        auditConflict,
      })),
      agents: Object.fromEntries(counts),
    },
    [
      `hub ${hub.id} at ${context.hubUrl}`,
      ...table(
        connections.map(({ instanceId, state, online, stoppable, lastSeenAt }) => [
          `instance ${instanceId}`,
          state,
          online ? 'online' : `away since ${lastSeenAt ?? 'ever'}`,
          stoppableText(stoppable),
        ]),
      ),
      ...conflictLines(connections),
      `agents: ${counts.size === 0 ? 'none' : [...counts].map(([state, count]) => `${String(count)} ${state}`).join(', ')}`,
    ],
  );
}
