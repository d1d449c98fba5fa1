import type { History, OrderRecord, RegisterLine, Violation } from './history.ts';

/** At most one effect of each command; none of one that was refused; work that is done is there, once. */
export function effectRules(history: History): Violation[] {
  const ids = new Set([
    ...history.orders.flatMap((order) => (order.kind === 'spawn' ? [order.agentId] : [])),
    ...history.calls.map(({ agentId }) => agentId),
  ]);
  return [...ids].flatMap((agentId) => [
    ...runFaults(agentId, history),
    ...refusalFaults(agentId, history),
    ...workFaults(agentId, history),
  ]);
}

/** An agent that had begun is never started again, and one process at most works as it. */
function runFaults(agentId: string, history: History): Violation[] {
  const calls = history.calls.filter((call) => call.agentId === agentId);
  const processes = new Set(calls.flatMap((call) => call.process ?? []));
  const starts = startsOf(agentId, history);
  const faults: Violation[] = [];
  const fault = (sentence: string): void => void faults.push({ rule: 'ran-twice', subject: agentId, sentence });
  if (processes.size > 1) fault(`${String(processes.size)} processes have worked as it`);
  const last = starts.at(-1);
  if (starts.length > 1 && last !== undefined && calls.some(({ at }) => at < last.at)) {
    fault(`a sandbox was registered for it after it had asked the model`);
  }
  if (calls.length > 0 && starts.length === 0) fault('it has asked the model, and no reaper has registered it');
  return faults;
}

/** Registrations of different sandboxes, oldest first. */
function startsOf(agentId: string, { instances }: History): RegisterLine[] {
  const seen = new Set<string>();
  return instances.flatMap(({ register }) =>
    register.filter((line) => {
      if (line.kind !== 'agent' || line.agentId !== agentId) return false;
      const handle = JSON.stringify(line.handle?.processes ?? []);
      return !seen.has(handle) && seen.add(handle) !== undefined;
    }),
  );
}

/** Whoever was told "no" each time must be able to rely on it, and so must the record. */
function refusalFaults(agentId: string, history: History): Violation[] {
  const isOfIt = (order: OrderRecord): boolean => order.kind === 'spawn' && order.agentId === agentId;
  const orders = history.orders.filter(isOfIt);
  const row = history.commands.find((command) => command.agentId === agentId && command.kind === 'agent.spawn');
  const hasRun = startsOf(agentId, history).length > 0;
  if (!hasRun) return [];
  if (orders.length > 0 && orders.every(({ answer }) => answer === 'refused')) {
    return [{ rule: 'effect-of-refused', subject: agentId, sentence: 'its spawn was refused, and it was started' }];
  }
  if (row === undefined) {
    return [
      { rule: 'effect-unrecorded', subject: agentId, sentence: 'it was started, and the hub has no spawn of it' },
    ];
  }
  if (row.state === 'FAILED' || row.state === 'TIMEOUT') {
    return [
      { rule: 'effect-of-refused', subject: agentId, sentence: `its spawn ended as ${row.state}, and it was started` },
    ];
  }
  return [];
}

function workFaults(agentId: string, { agents, branches, calls }: History): Violation[] {
  const state = agents.find((agent) => agent.agentId === agentId)?.state;
  const branch = branches.find((each) => each.agentId === agentId);
  if (state !== 'completed') return [];
  const fault = (sentence: string): Violation[] => [{ rule: 'work', subject: agentId, sentence }];
  if (branch === undefined) return fault('it has completed, and its branch is not there');
  if (branch.commits !== 1) return fault(`its branch has ${String(branch.commits)} commits of its own`);
  const [worker] = calls.flatMap((call) => (call.agentId === agentId ? (call.process ?? []) : []));
  if (branch.processes.length !== 1 || branch.processes[0] !== worker) {
    return fault('what its branch holds is not the work of the one process that asked the model');
  }
  return [];
}
