import type { CommandRow, History, InstanceEvidence, KilledLine, OrderRecord } from './history.ts';

export const AGENT = 'chaos-1-0-0';
export const SPAWN_ID = 'spawn-1';

/** A history in which one agent was ordered, has worked and completed, and nothing is wrong. */
export function soundHistory(changes: Partial<History> = {}): History {
  return {
    orders: [spawnOrder()],
    calls: [
      { agentId: AGENT, at: 1200 },
      { agentId: AGENT, at: 1300, process: 'p1' },
    ],
    commands: [spawnRow()],
    receipts: [
      { commandId: SPAWN_ID, agentId: AGENT, kind: 'spawned' },
      { commandId: SPAWN_ID, agentId: AGENT, kind: 'finished' },
    ],
    agents: [{ agentId: AGENT, state: 'completed' }],
    instances: [home()],
    branches: [{ agentId: AGENT, commits: 1, processes: ['p1'] }],
    living: [],
    ...changes,
  };
}

export function spawnOrder(changes: Partial<Extract<OrderRecord, { kind: 'spawn' }>> = {}): OrderRecord {
  return {
    ...{ kind: 'spawn', agentId: AGENT, instance: 'quay', work: 'brief', commandId: SPAWN_ID },
    ...{ askedAt: 1000, answeredAt: 1010, answer: 'accepted', during: [], ...changes },
  };
}

export function killOrder(changes: Partial<Extract<OrderRecord, { kind: 'kill' }>> = {}): OrderRecord {
  return {
    ...{ kind: 'kill', agentId: AGENT, instance: 'quay', outcome: 'killed', confirmed: true, alive: [] },
    ...{ askedAt: 2000, answeredAt: 2100, answer: 'accepted', during: [], ...changes },
  };
}

export function killAllOrder(...lines: KilledLine[]): OrderRecord {
  const asked = { askedAt: 2000, answeredAt: 2100, answer: 'accepted' as const, during: [] };
  return { kind: 'kill-all', scope: { scope: 'mesh' }, lines, ...asked };
}

export function spawnRow(changes: Partial<CommandRow> = {}): CommandRow {
  const row = { id: SPAWN_ID, kind: 'agent.spawn', instance: 'quay', agentId: AGENT };
  return {
    ...row,
    state: 'DELIVERED',
    isSettled: true,
    refusal: null,
    hasExpired: false,
    expiresAt: 601_000,
    ...changes,
  };
}

export function home(changes: Partial<InstanceEvidence> = {}): InstanceEvidence {
  return {
    id: 'quay',
    register: [registered(1100, 41)],
    agents: [{ agentId: AGENT, state: 'completed' }],
    ledger: [SPAWN_ID],
    prunedThrough: 0,
    ...changes,
  };
}

export function registered(at: number, pid: number): InstanceEvidence['register'][number] {
  return { kind: 'agent', at, agentId: AGENT, handle: { processes: [{ pid, startTicks: String(at) }] } };
}
