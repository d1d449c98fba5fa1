import type { ConnectionView } from '@capstan/localmesh';
import { stoppableText } from './stoppable-text.js';
import { table } from './table.js';

/** For people: every connection in a table, and below it, loudly, which logs contradict what their instances have signed. */
export function spokeLines(connections: readonly ConnectionView[]): string[] {
  const rows = connections.map(({ id, instanceId, state, online, stoppable }) => [
    instanceId,
    state,
    online ? 'online' : 'away',
    hasEnded(state) ? '–' : stoppableText(stoppable),
    id,
  ]);
  return [...table([['INSTANCE', 'STATE', 'LINK', 'KILL PATH', 'CONNECTION'], ...rows]), ...conflictLines(connections)];
}

/** One line for each instance whose audit log contradicts what it has signed before; none where all is well. */
export function conflictLines(connections: readonly ConnectionView[]): string[] {
  return connections.flatMap(({ instanceId, auditConflict }) => {
    if (auditConflict === null) return [];
    const { sentence, heldSize, size, at } = auditConflict;
    const sizes = `It had signed ${String(heldSize)} entries and shows ${String(size)}, since ${at}.`;
    return [`AUDIT CONFLICT: ${instanceId}: ${sentence} ${sizes}`];
  });
}

function hasEnded(state: string): boolean {
  return state === 'DISCONNECTED' || state === 'REVOKED';
}
