import type { CommandRow, History, OrderRecord, Violation } from './history.ts';

const TERMINAL = new Set(['completed', 'failed', 'killed']);

/** Each acknowledged command is on disk, and has exactly one outcome in the end, the same at hub and instance. */
export function outcomeRules(history: History): Violation[] {
  const rows = new Map(history.commands.map((row) => [row.id, row]));
  const asked = history.orders.filter(({ answer }) => answer === 'accepted').flatMap(commandsOf);
  return [
    ...asked.filter(({ commandId }) => !rows.has(commandId)).map(lost),
    ...history.orders.filter((order) => isRoutedAndLost(order, history)).map(lostOnItsWay),
    ...history.commands.filter((row) => isUnsettled(row)).map(unsettled),
    ...history.commands.filter(({ kind }) => kind === 'agent.spawn').flatMap((row) => spawnFaults(row, history)),
  ];
}

function commandsOf(order: OrderRecord): { kind: string; commandId: string }[] {
  if (order.kind === 'kill-all') {
    return order.lines.flatMap(({ commandId }) => (commandId === null ? [] : [{ kind: order.kind, commandId }]));
  }
  return order.commandId === undefined ? [] : [{ kind: order.kind, commandId: order.commandId }];
}

/** Its origin has the target's answer, so the hub has sent it on. */
function isRoutedAndLost(order: OrderRecord, { commands }: History): boolean {
  if (!('agentId' in order) || order.origin === undefined || order.answer !== 'accepted') return false;
  return !commands.some(({ kind, agentId }) => kind === `agent.${order.kind}` && agentId === order.agentId);
}

function lostOnItsWay(order: OrderRecord): Violation {
  const subject = 'agentId' in order ? order.agentId : '';
  return {
    rule: 'lost',
    subject,
    sentence: `a routed ${order.kind} of it was answered, and the hub has no record of it`,
  };
}

function lost({ kind, commandId }: { kind: string; commandId: string }): Violation {
  return {
    rule: 'lost',
    subject: commandId,
    sentence: `this ${kind} was acknowledged, and the hub has no record of it`,
  };
}

function isUnsettled({ state, isSettled }: CommandRow): boolean {
  return state === 'PENDING' || !isSettled;
}

function unsettled({ id, kind, state, agentId }: CommandRow): Violation {
  return { rule: 'unsettled', subject: id, sentence: `${kind} of ${agentId} ends as ${state}, without an outcome` };
}

function spawnFaults(row: CommandRow, history: History): Violation[] {
  const { id, agentId, instance, state, refusal } = row;
  if (state !== 'DELIVERED') return [];
  const faults: Violation[] = [];
  const add = (rule: string, sentence: string): void => void faults.push({ rule, subject: agentId, sentence });
  const home = history.instances.find((each) => each.id === instance);
  const isForgotten = row.hasExpired || row.expiresAt <= (home?.prunedThrough ?? 0);
  if (!isForgotten && !home?.ledger.includes(id))
    add('not-on-disk', 'its spawn was delivered, and the ledger does not have it');
  if (refusal !== null) return faults;
  const ends = history.receipts.filter(({ commandId, kind }) => commandId === id && kind === 'finished').length;
  if (ends !== 1) add('outcomes', `its spawn has ${String(ends)} final receipts`);
  const [atHub, atHome] = [history.agents, home?.agents].map((list) => list?.find((each) => each.agentId === agentId));
  if (atHub === undefined || !TERMINAL.has(atHub.state)) add('outcomes', `the hub knows it as ${stateOf(atHub)}`);
  if (atHub?.state !== atHome?.state) {
    add('outcomes', `the hub says ${stateOf(atHub)}, its instance ${stateOf(atHome)}`);
  }
  return faults;
}

function stateOf(agent: { state: string } | undefined): string {
  return agent?.state ?? 'nothing';
}
