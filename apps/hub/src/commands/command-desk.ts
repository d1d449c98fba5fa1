import { Injectable } from '@nestjs/common';
import { WireFault } from '@capstan/protocol';
import { ConnectionStore } from '../connections/connection.store.js';
import type { EpochWrite } from '../killswitch/kill-epochs.js';
import { SpawnGate } from '../killswitch/spawn-gate.js';
import { WithdrawnSpawns } from '../killswitch/withdrawn-spawns.js';
import { Freshness } from '../replicas/freshness.js';
import { CommandBook } from './command.book.js';
import { CommandFactory, type Order } from './command-factory.js';
import type { CommandRecord } from './command-record.js';
import { CommandStore } from './command.store.js';
import { Outbox } from './outbox.js';

/** Commands that may wait for one instance; beyond it something is wrong, and memory is not endless. */
const MOST_OPEN = 10_000;

/** Issues commands. */
@Injectable()
export class CommandDesk {
  constructor(
    private readonly connections: ConnectionStore,
    private readonly factory: CommandFactory,
    private readonly book: CommandBook,
    private readonly store: CommandStore,
    private readonly outbox: Outbox,
    private readonly gate: SpawnGate,
    private readonly withdrawn: WithdrawnSpawns,
    private readonly freshness: Freshness,
  ) {}

  /**
   * Signs a command, commits it, then sends it or keeps it for the instance's return.
   *
   * @throws WireFault `instance-unknown`, `connection-not-active`, `disarmed`, `policy-probe`, `agent-exists`,
   *   `queue-unavailable`, `replica-stale`
   */
  async issue(order: Order): Promise<CommandRecord> {
    this.freshness.check();
    const { state, instanceId } = this.connections.ofInstance(order.instance);
    if (state !== 'ACTIVE') throw new WireFault('connection-not-active', `${instanceId} is ${state}`);
    if (order.body.case === 'spawn') this.gate.check(instanceId, order.tenant);
    if (this.book.openCount(instanceId) >= MOST_OPEN) throw new WireFault('queue-unavailable', `${instanceId} is full`);
    const record = this.factory.make(order);
    await this.store.add(record, order.onBehalfOf);
    if (order.body.case === 'spawn') this.withdrawn.check(record, order.tenant);
    this.outbox.offer(record);
    return record;
  }

  /**
   * Sends a kill at once; its row is written meanwhile, or later where the database is away.
   *
   * @param alongside the kill epoch that is written in one change with it
   * @returns a promise that resolves once the kill is on one disk, in a second at most: who ordered it is not answered before
   * @throws WireFault `instance-unknown`, `connection-not-active`, at once
   */
  kill(order: Order, alongside: () => EpochWrite | undefined = () => undefined): Promise<void> {
    const { state, instanceId } = this.connections.ofInstance(order.instance);
    if (state !== 'ACTIVE' && state !== 'SUSPENDED')
      throw new WireFault('connection-not-active', `${instanceId} is ${state}`);
    const record = this.factory.make(order);
    // First on its way, then on paper.
    this.outbox.offer(record);
    return this.store.addKill(record, order.onBehalfOf, alongside());
  }
}
