import { Injectable } from '@nestjs/common';
import type { CommandRecord } from '../commands/command-record.js';
import type { Scope } from './kill-scope.js';

/**
 * Instances of which everything was ordered dead and not yet confirmed: their leases are not renewed, so that what does
 * not obey ends all the same. An order for one tenant among others stops no renewal.
 */
@Injectable()
export class Stopping {
  private readonly open = new Map<string, Set<string>>();

  begin(instance: string, commandId: string, { scope }: Scope): void {
    if (scope === 'tenant') return;
    const commands = this.open.get(instance) ?? new Set<string>();
    this.open.set(instance, commands.add(commandId));
  }

  /** Ends with the proof, and with an end that brings none. */
  heard({ instance, id, settledAt }: CommandRecord): void {
    if (settledAt !== null) this.end(instance, id);
  }

  end(instance: string, commandId: string): void {
    const commands = this.open.get(instance);
    if (commands?.delete(commandId) === true && commands.size === 0) this.open.delete(instance);
  }

  has(instance: string): boolean {
    return this.open.has(instance);
  }
}
