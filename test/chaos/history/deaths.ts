import type { History, InstanceEvidence, OrderRecord, RegisterLine, Violation } from './history.ts';

/** From order to proof, while nothing but a store is away. */
const KILL_MS = 5000;
/** What a kill must not need; it needs no clock either. */
const STORES = /^(?:kill|freeze) (?:postgres|hub-valkey|[a-z0-9-]+\/valkey)$/;
/** Where both are away, two hubs cannot tell each other of a kill. */
const WAYS_BETWEEN_HUBS = ['postgres', 'hub-valkey'];

/** No proof of a death that has not happened; nothing starts after an epoch; kills do without the stores. */
export function deadlyRules({ orders, instances }: History): Violation[] {
  return [...orders.flatMap(proofFaults), ...orders.flatMap(slowKills), ...instances.flatMap(epochFaults)];
}

function proofFaults(order: OrderRecord): Violation[] {
  if (order.kind === 'kill') {
    if (!order.confirmed || order.alive.length === 0) return [];
    return [falseDeath(order.agentId, order.alive)];
  }
  if (order.kind !== 'kill-all') return [];
  return order.lines
    .filter(({ confirmed, alive }) => confirmed && alive.length > 0)
    .map(({ instance, alive }) => falseDeath(instance, alive));
}

function falseDeath(subject: string, alive: readonly number[]): Violation {
  return { rule: 'false-death', subject, sentence: `it was reported dead while ${alive.join(', ')} lived` };
}

type KillRecord = Extract<OrderRecord, { kind: 'kill' }>;

/** A kill of the hub's that was ordered while a store was away or came back or a clock was wrong, and nothing else was. */
export function isKillWithoutStore(order: OrderRecord): order is KillRecord {
  if (order.kind !== 'kill' || order.origin !== undefined || order.during.length === 0) return false;
  const isHit = (part: string): boolean => order.during.some((fault) => fault.endsWith(` ${part}`));
  return (
    order.during.every((fault) => STORES.test(fault) || fault.startsWith('clock ')) && !WAYS_BETWEEN_HUBS.every(isHit)
  );
}

function slowKills(order: OrderRecord): Violation[] {
  if (!isKillWithoutStore(order)) return [];
  const tookMs = order.answeredAt - order.askedAt;
  if (order.confirmed && tookMs <= KILL_MS) return [];
  const { agentId: subject, answer, code = '', during } = order;
  const what = order.confirmed ? 'confirmed' : `${answer} ${code}`.trim();
  return [
    { rule: 'slow-kill', subject, sentence: `${what} after ${String(tookMs)} ms, during ${during.join(' and ')}` },
  ];
}

/** The register is written in order: what is registered in a scope that is disarmed has been let through. */
function epochFaults({ register }: InstanceEvidence): Violation[] {
  const disarmed = new Set<string>();
  return register.flatMap((line) => {
    if (line.kind === 'epoch') disarmed.add(scopeOf(line));
    if (line.kind === 'rearmed') disarmed.delete(scopeOf(line));
    // Agents of these runs are all of the tenant `default`.
    const holds = ['mesh/', 'instance/', 'tenant/default'].some((scope) => disarmed.has(scope));
    if (line.kind !== 'agent' || !holds) return [];
    const sentence = `it was registered while ${[...disarmed].join(', ')} was stopped`;
    return [{ rule: 'spawn-after-epoch', subject: line.agentId ?? '', sentence }];
  });
}

function scopeOf({ scope }: RegisterLine): string {
  return `${scope?.scope ?? ''}/${scope?.id ?? ''}`;
}
