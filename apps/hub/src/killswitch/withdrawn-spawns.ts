import { Injectable } from '@nestjs/common';
import { CommandSchema, decodeStrict, FAULTS, WireFault } from '@capstan/protocol';
import { Answers } from '../commands/answers.js';
import { CommandBook } from '../commands/command.book.js';
import type { CommandRecord } from '../commands/command-record.js';
import { CommandStore } from '../commands/command.store.js';
import { KillEpochs } from './kill-epochs.js';
import type { ScopeOrder } from './kill-scope.js';

/**
 * Spawns that wait while their scope is stopped: withdrawn, or they would start once it is re-armed. One that its
 * instance has taken meanwhile is the reaper's to refuse.
 */
@Injectable()
export class WithdrawnSpawns {
  constructor(
    private readonly book: CommandBook,
    private readonly store: CommandStore,
    private readonly answers: Answers,
    private readonly epochs: KillEpochs,
  ) {}

  /** A spawn that was committed while its scope was being stopped. @throws WireFault `disarmed` */
  check(record: CommandRecord, tenant = tenantOf(record)): void {
    if (this.epochs.forbidding(record.instance, tenant) === undefined) return;
    this.one(record);
    throw new WireFault('disarmed', record.agentId);
  }

  withdraw({ scope, scopeId, instance }: ScopeOrder): void {
    const waiting = instance === undefined ? this.book.allOpen() : this.book.openOf(instance);
    const spawns = waiting.filter(({ kind, state }) => kind === 'agent.spawn' && state === 'PENDING');
    const mine = spawns.filter((record) => scope !== 'tenant' || tenantOf(record) === scopeId);
    for (const record of mine) this.one(record);
  }

  private one(record: CommandRecord): void {
    // What the hub concludes alone: should the instance have taken it in time, its signed word outranks this.
    const refusal = { code: 'disarmed', sentence: FAULTS.disarmed.sentence };
    const moved = this.store.moved(record, 'TIMEOUT', { refusal });
    if (moved === undefined) return;
    const detail = { instance: record.instance, agent: record.agentId };
    this.store.keepAndWrite(moved, [{ kind: 'command.withdrawn', subject: record.id, atMs: Date.now(), detail }]);
    this.answers.publish({ record: moved });
  }
}

function tenantOf({ envelope }: CommandRecord): string {
  return decodeStrict(CommandSchema, envelope.payload).header?.tenant ?? '';
}
