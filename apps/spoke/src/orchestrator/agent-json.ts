import {
  agentId,
  type AgentSnapshot,
  type AgentStalled,
  AgentStalledSchema,
  agentSnapshot,
  type AgentView,
  create,
  isAgentStateName,
  LocalFault,
  type LogPage,
  LogPageSchema,
} from '@capstan/protocol';

/** A page that grows past this is cut: its receipt must fit into one envelope. */
const PAGE_BYTES = 512 * 1_024;

/** An agent as the orchestrator tells it. @throws LocalFault `orchestrator-malformed` */
export function parseAgent(json: unknown): AgentSnapshot {
  try {
    const view = json as AgentView;
    agentId(view.agentId);
    if (!isAgentStateName(view.state)) throw new TypeError('no such state');
    return agentSnapshot(view);
  } catch (cause) {
    throw malformed('agent', cause);
  }
}

/** A stall as the orchestrator tells it. @throws LocalFault `orchestrator-malformed` */
export function parseStall(json: unknown): AgentStalled {
  try {
    const { agentId: id, at, stalled, silentMs, reason, action } = json as Record<string, unknown>;
    return create(AgentStalledSchema, {
      agentId: agentId(String(id)),
      atMs: BigInt(Date.parse(String(at))),
      stalled: stalled === true,
      silentMs: BigInt(Math.round(Number(silentMs))),
      reason: String(reason),
      action: String(action),
    });
  } catch (cause) {
    throw malformed('stall', cause);
  }
}

/**
 * A page of an agent's log, cut where its lines have more than `mostBytes`; by default where they would not fit into a
 * receipt.
 *
 * @throws LocalFault `orchestrator-malformed`
 */
export function parseLogPage(json: unknown, mostBytes = PAGE_BYTES): LogPage {
  try {
    const { lines, next, gap } = json as { lines: unknown[]; next: number; gap: boolean };
    const page = create(LogPageSchema, { next: BigInt(next), gap });
    let bytes = 0;
    for (const line of lines as { sequence: number; at: string; source: string; text: string }[]) {
      bytes += Buffer.byteLength(line.text) + 64;
      if (bytes > mostBytes && page.lines.length > 0) {
        page.next = page.lines.at(-1)?.sequence ?? page.next;
        break;
      }
      page.lines.push({
        $typeName: 'capstan.v1.LogLine',
        sequence: BigInt(line.sequence),
        atMs: BigInt(Date.parse(line.at)),
        source: line.source,
        text: line.text,
      });
    }
    return page;
  } catch (cause) {
    throw malformed('log page', cause);
  }
}

/** @param what of the orchestrator's */
export function malformed(what: string, cause: unknown): LocalFault {
  return new LocalFault('orchestrator-malformed', `The orchestrator’s ${what} cannot be read.`, undefined, { cause });
}
