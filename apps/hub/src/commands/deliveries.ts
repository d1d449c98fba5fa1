import { Injectable } from '@nestjs/common';
import { metrics } from '@capstan/platform';
import { type Acknowledgement, faultSentence, isFaultCode, LIMITS, type Rejection } from '@capstan/protocol';
import { Answers } from './answers.js';
import { CommandBook } from './command.book.js';
import { type CommandRecord, isPursued } from './command-record.js';
import { CommandStore } from './command.store.js';

/** Takes what an instance says of a command without signing it: that it has it on disk, or will not have it. */
@Injectable()
export class Deliveries {
  constructor(
    private readonly book: CommandBook,
    private readonly store: CommandStore,
    private readonly answers: Answers,
  ) {}

  acknowledged(instance: string, { digest }: Acknowledgement): void {
    const record = this.ownCommand(instance, digest);
    if (record === undefined || record.state === 'DELIVERED') return;
    const moved = this.store.moved(record, 'DELIVERED');
    if (moved === undefined) return;
    const detail = { instance, command: moved.kind, agent: moved.agentId };
    this.store.keepAndWrite(moved, [{ kind: 'command.delivered', subject: moved.id, atMs: Date.now(), detail }]);
  }

  /**
   * What may succeed later stays pending and is offered again; but not what this hub has dated ahead by a clock that was set
   * back since: it would be taken when its time has come, long after anybody meant it. A kill of this hub stays open in any
   * case: whoever could end it with a word would live on.
   */
  rejected(instance: string, { digest, code, retryable }: Rejection): void {
    const record = this.ownCommand(instance, digest);
    // An acknowledged command is beyond an unsigned word; only a receipt can say what became of it.
    if (record === undefined || record.state === 'DELIVERED') return;
    const isKept = isPursued(record);
    if (retryable && !isKept && !isDatedAhead(record, code)) return;
    const known = isFaultCode(code) ? code : 'internal';
    const refusal = { code: known, sentence: faultSentence(known) };
    const moved = isKept ? this.store.refused(record, refusal, false) : this.store.moved(record, 'FAILED', { refusal });
    if (moved === undefined) return;
    const detail = { instance, code: known };
    this.store.keepAndWrite(moved, [{ kind: 'command.rejected', subject: record.id, atMs: Date.now(), detail }]);
    this.answers.publish({ record: moved });
  }

  /** An instance has no say about a command that was for another. */
  private ownCommand(instance: string, digest: Uint8Array): CommandRecord | undefined {
    const record = this.book.byDigest(Buffer.from(digest).toString('hex'));
    if (record === undefined || record.instance === instance) return record;
    metrics.countRefusal('wrong-issuer');
    return undefined;
  }
}

function isDatedAhead({ issuer, createdAt }: CommandRecord, code: string): boolean {
  return code === 'clock-skew' && issuer === null && createdAt.getTime() > Date.now() + LIMITS.clockSkewMs;
}
