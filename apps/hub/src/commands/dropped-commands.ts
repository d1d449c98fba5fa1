import { Injectable, type OnModuleInit } from '@nestjs/common';
import { type FaultCode, faultSentence } from '@capstan/protocol';
import { ConnectionMoves } from '../connections/connection-moves.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { endOf } from '../connections/link-closer.js';
import { Answers } from './answers.js';
import { CommandBook } from './command.book.js';
import type { CommandRecord } from './command-record.js';
import { CommandStore } from './command.store.js';

/** Fails what waits in vain: its instance will not come for it, or the key that signed it was revoked. */
@Injectable()
export class DroppedCommands implements OnModuleInit {
  constructor(
    private readonly moves: ConnectionMoves,
    private readonly connections: ConnectionStore,
    private readonly book: CommandBook,
    private readonly store: CommandStore,
    private readonly answers: Answers,
  ) {}

  onModuleInit(): void {
    this.moves.onMoved(({ instanceId }, _from, isElsewhere) => {
      // The replica that has moved it fails what waits; what only this one knows, the next sweep finds.
      if (isElsewhere) return;
      for (const record of this.book.openOf(instanceId)) this.isDropped(record);
    });
  }

  /**
   * Whether the command has no receiver, or no issuer, any longer; it is failed then. Asked at each sweep too: a command may be
   * committed while its connection ends, and a hub that broke down in between comes back with it.
   */
  isDropped(record: CommandRecord): boolean {
    const code = this.codeOf(record);
    if (code === undefined) return false;
    this.drop(record, code);
    return true;
  }

  /** Why the command has no receiver or no issuer any longer; undefined where it has both. */
  codeOf({ instance, issuer }: CommandRecord): FaultCode | undefined {
    const target = this.connections.find(instance);
    const code = target === undefined ? undefined : endOf(target.state);
    if (code !== undefined || issuer === null) return code;
    // What a revoked key has signed is nobody's order any more.
    return this.connections.find(issuer)?.state === 'REVOKED' ? 'key-revoked' : undefined;
  }

  /** The order goes on as another command, which whoever waits has been told: this one is offered no longer. */
  superseded(record: CommandRecord, code: FaultCode, successor: string): void {
    const refusal = { code, sentence: `${faultSentence(code)} The order goes on as command ${successor}.` };
    const moved = this.store.moved(record, 'FAILED', { refusal });
    if (moved === undefined) return;
    const { kind: command, instance, agentId: agent } = record;
    const detail = { command, instance, agent, code, by: successor };
    this.store.keepAndWrite(moved, [{ kind: 'command.superseded', subject: record.id, atMs: Date.now(), detail }]);
  }

  /** Fails the command; a kill that was taken stays taken, and is asked for no longer. */
  drop(record: CommandRecord, code: FaultCode): void {
    const refusal = { code, sentence: faultSentence(code) };
    const isUnsent = record.state === 'PENDING';
    // A kill that was taken and never confirmed was no failure to begin; nobody asks for it any longer.
    const moved = isUnsent
      ? this.store.moved(record, 'FAILED', { refusal })
      : this.store.moved(record, record.state, { isAnswered: true });
    if (moved === undefined) return;
    const detail = { command: record.kind, instance: record.instance, agent: record.agentId, code };
    const kind = isUnsent ? 'command.dropped' : 'kill.unconfirmed';
    this.store.keepAndWrite(moved, [{ kind, subject: record.id, atMs: Date.now(), detail }]);
    this.answers.publish({ record: moved });
  }
}
