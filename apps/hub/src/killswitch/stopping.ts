import { Injectable } from '@nestjs/common';
import type { CommandRecord } from '../commands/command-record.js';
import type { Scope } from './kill-scope.js';

/**
 * Instances of which everything was ordered dead and not yet confirmed: their leases are not renewed, so that what does
 * not obey ends all the same. Nothing that the instance says ends this, but the proof. An order for one tenant among
 * others stops no renewal.
 */
@Injectable()
export class Stopping {
  /** By instance: the scope of each command. */
  private readonly open = new Map<string, Map<string, Scope['scope']>>();

  begin(instance: string, commandId: string, { scope }: Scope): void {
    if (scope === 'tenant') return;
    const commands = this.open.get(instance) ?? new Map<string, Scope['scope']>();
    this.open.set(instance, commands.set(commandId, scope));
  }

  /** Ends with the proof, and where the hub itself has given the order up: with the connection, or its time. */
  heard({ instance, id, settledAt }: CommandRecord): void {
    if (settledAt !== null) this.end(instance, id);
  }

  /** An admin lets agents start again in the scope. */
  rearmed(instance: string, { scope }: Scope): void {
    for (const [commandId, stopped] of this.open.get(instance) ?? []) {
      if (stopped === scope) this.end(instance, commandId);
    }
  }

  end(instance: string, commandId: string): void {
    const commands = this.open.get(instance);
    if (commands?.delete(commandId) === true && commands.size === 0) this.open.delete(instance);
  }

  has(instance: string): boolean {
    return this.open.has(instance);
  }
}
