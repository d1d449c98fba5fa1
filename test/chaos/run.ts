import { check } from './history/check.ts';
import type { History, OrderRecord, Violation } from './history/history.ts';
import type { Bounds, KillScope, Schedule } from './plan/schedule.ts';
import { type ChaosMesh, INSTANCES } from './stage/chaos-mesh.ts';
import { Orders } from './stage/orders.ts';
import { Weather } from './stage/weather.ts';

/** From the last fault until everything has its outcome: commands expire after 30 s, a link is dialled within 15. */
const SETTLE_MS = 75_000;
const LOOK_MS = 100;
/** An instance repeats an order for another one every 5 s until it is answered: so long, the hub may not know of it yet. */
const ROUTED_MS = 6_000;
const READ_MS = 30_000;
const TERMINAL = new Set(['completed', 'failed', 'killed']);

export interface RunResult {
  violations: Violation[];
  history: History;
  /** Those of this run: a history holds what came before on the same mesh. */
  orders: OrderRecord[];
  /** Milliseconds from the last fault until every order had its outcome. */
  settledMs: number;
}

/** Plays a schedule on a mesh, heals everything, waits until it has settled, and checks the history. */
export async function playRun(stage: ChaosMesh, schedule: Schedule): Promise<RunResult> {
  const before = stage.orders.length;
  const weather = new Weather(stage);
  const orders = new Orders(stage, weather);
  const at = async (atMs: number, act: () => Promise<void>): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, atMs));
    await act();
  };
  try {
    await Promise.all([
      ...schedule.orders.map((order) => at(order.atMs, () => orders.give(order))),
      ...schedule.faults.map((fault) => at(fault.atMs, () => weather.bring(fault))),
    ]);
  } finally {
    weather.clear();
  }
  const healedAt = Date.now();
  await settle(stage, orders, schedule, before);
  const settledMs = Date.now() - healedAt;
  const history = await readWhenReady(stage);
  return { history, orders: history.orders.slice(before), violations: check(history), settledMs };
}

/** Arms what was stopped, ends what works on, and waits; what has not settled in time is the checker's to name. */
async function settle(stage: ChaosMesh, orders: Orders, schedule: Schedule, before: number): Promise<void> {
  const deadline = Date.now() + SETTLE_MS;
  const until = async (isDone: () => Promise<boolean>): Promise<void> => {
    while (!(await isDone().catch(() => false)) && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  };
  await until(() => isWhole(stage));
  const wholeAt = Date.now();
  const waitMs = stage.orders.slice(before).some(isOnItsWay) ? ROUTED_MS : 0;
  const stopped = schedule.orders.filter(({ kind }) => kind === 'kill-all') as { scope: KillScope }[];
  for (const { scope } of stopped) await until(() => orders.rearm(scope, 0));
  const killed = new Set<string>();
  await until(async () => {
    await endLasting(stage, orders, killed);
    return Date.now() - wholeAt >= waitMs && (await isSettled(stage));
  });
}

function isOnItsWay(order: OrderRecord): boolean {
  return 'origin' in order && order.answer === 'unknown';
}

/** A part that has only just settled may have a last restart before it. @throws what the last try did */
async function readWhenReady(stage: ChaosMesh): Promise<History> {
  const deadline = Date.now() + READ_MS;
  for (;;) {
    try {
      return await stage.history();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
}

/** Every part serves, and every instance has its link. */
async function isWhole({ mesh, wires }: ChaosMesh): Promise<boolean> {
  if (!(await Promise.all(mesh.hubs.map(({ client }) => client.isReady()))).every(Boolean)) return false;
  const connections = await mesh.client.connections();
  const online = connections.filter((connection) => connection.online).length;
  const parts = mesh.instances.flatMap(({ orchestrator, spoke, reaper }) => [orchestrator, spoke, reaper]);
  const ready = await Promise.all(parts.map((part) => part.waitReady(1000)));
  return online === wires.size && ready.every(Boolean);
}

async function endLasting(stage: ChaosMesh, orders: Orders, killed: Set<string>): Promise<void> {
  const lasting = stage.orders.flatMap((order) =>
    order.kind === 'spawn' && order.work === 'lasting' && order.answer !== 'refused' ? [order] : [],
  );
  for (const { agentId, instance } of lasting) {
    if (killed.has(agentId)) continue;
    const agent = await stage.mesh.client.agent(agentId).catch(() => undefined);
    if (agent === undefined) continue;
    if (TERMINAL.has(agent.state) || (await orders.kill({ agentId, instance, via: 0 }))) killed.add(agentId);
  }
}

async function isSettled(stage: ChaosMesh): Promise<boolean> {
  await using database = await stage.database();
  const commands = await database.commands();
  const [agents, receipts] = [await database.agents(), await database.receipts()];
  const spawned = commands.filter(({ kind, state, refusal }) => {
    return kind === 'agent.spawn' && state === 'DELIVERED' && refusal === null;
  });
  const ended = new Set(agents.filter(({ state }) => TERMINAL.has(state)).map(({ agentId }) => agentId));
  // The proof of a kill may come before the last word of the spawn.
  const finished = new Set(receipts.filter(({ kind }) => kind === 'finished').map(({ commandId }) => commandId));
  return (
    commands.every(({ state, isSettled }) => state !== 'PENDING' && isSettled) &&
    spawned.every(({ id, agentId }) => ended.has(agentId) && finished.has(id))
  );
}

/** What schedules of a mesh may name. */
export function boundsOf({ mesh, clocks }: ChaosMesh): Bounds {
  return { instances: INSTANCES, hubs: mesh.hubs.length, hasClocks: clocks !== undefined, lengthMs: 4000 };
}
