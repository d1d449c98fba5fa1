import { Injectable } from '@nestjs/common';
import type { CommandRecord } from '../commands/command-record.js';
import { KillEpochs } from './kill-epochs.js';
import type { Scope } from './kill-scope.js';

/** A scope that was stopped, by the number of that order. */
type Stop = Scope & { readonly epoch: bigint };

/**
 * Instances of which everything was ordered dead and not yet confirmed: their leases are not renewed, so that what does
 * not obey ends all the same. Nothing that the instance says ends this, but the proof, or that it was re-armed by an admin's
 * order: the kill epochs say so, which every replica reads from the database. An order for one tenant among others stops
 * no renewal.
 */
@Injectable()
export class Stopping {
  /** By instance and command. */
  private readonly open = new Map<string, Map<string, Stop>>();

  constructor(private readonly epochs: KillEpochs) {}

  begin(instance: string, commandId: string, stop: Stop): void {
    if (stop.scope === 'tenant') return;
    const commands = this.open.get(instance) ?? new Map<string, Stop>();
    this.open.set(instance, commands.set(commandId, stop));
  }

  /** Ends with the proof, and where the hub itself has given the order up: with the connection, or its time. */
  heard({ instance, id, settledAt }: CommandRecord): void {
    if (settledAt !== null) this.end(instance, id);
  }

  end(instance: string, commandId: string): void {
    const commands = this.open.get(instance);
    if (commands?.delete(commandId) === true && commands.size === 0) this.open.delete(instance);
  }

  has(instance: string): boolean {
    const stops = [...(this.open.get(instance)?.values() ?? [])];
    return stops.some((stop) => !this.isOver(instance, stop));
  }

  /** An admin lets agents start again in the scope, whatever was ordered of it until then. */
  private isOver(instance: string, stop: Stop): boolean {
    const row = this.epochs.of(instance, stop);
    return row?.armed === true && row.epoch >= stop.epoch;
  }
}
