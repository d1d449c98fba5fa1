import { Injectable } from '@nestjs/common';
import type { LogConflict } from '@capstan/evidence';

/**
 * Instances whose audit log has contradicted itself, as long as this process lives: whoever contradicts still does so in
 * the first heartbeats after a start.
 */
@Injectable()
export class AuditConflicts {
  private readonly conflicts = new Map<string, LogConflict>();

  of(instanceId: string): LogConflict | undefined {
    return this.conflicts.get(instanceId);
  }

  set(instanceId: string, conflict: LogConflict): void {
    this.conflicts.set(instanceId, conflict);
  }

  clear(instanceId: string): void {
    this.conflicts.delete(instanceId);
  }
}
