import { Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { create, FAULTS, LinkMessageSchema } from '@capstan/protocol';
import { ConnectionStore } from '../connections/connection.store.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { Answers } from './answers.js';
import { CommandBook } from './command.book.js';
import { type CommandRecord, isKill } from './command-record.js';
import { CommandStore } from './command.store.js';

const SWEEP_MS = 1_000;
/** An open link on which a command was not acknowledged for so long gets it again. */
const REPEAT_MS = 5_000;

/** Offers open commands to their instances: until they are acknowledged, or for a kill confirmed, or expire. */
@Injectable()
export class Outbox implements OnModuleInit, OnApplicationShutdown {
  private readonly sentAt = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly book: CommandBook,
    private readonly store: CommandStore,
    private readonly links: LinkRegistry,
    private readonly connections: ConnectionStore,
    private readonly answers: Answers,
  ) {}

  onModuleInit(): void {
    this.timer = setInterval(() => {
      this.sweep(Date.now());
    }, SWEEP_MS);
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  /** Sends the command if its instance is there; else it waits for it. */
  offer(record: CommandRecord): void {
    const { id, instance, kind, envelope } = record;
    if (!this.mayOffer(record)) return;
    this.sentAt.set(id, Date.now());
    const message = create(LinkMessageSchema, { body: { case: 'envelope', value: envelope } });
    void this.links.send(instance, isKill(kind) ? 'kill' : 'commands', message);
  }

  /** For an instance that is back: everything that is open, kills first. */
  offerAll(instance: string): void {
    for (const record of this.book.openOf(instance)) this.offer(record);
  }

  /** Expires what is past its time, and offers again what is still open. */
  sweep(nowMs: number): void {
    for (const record of this.book.allOpen()) {
      if (record.expiresAt.getTime() <= nowMs) this.expire(record);
      else if ((this.sentAt.get(record.id) ?? 0) + REPEAT_MS <= nowMs) this.offer(record);
    }
    for (const id of this.sentAt.keys()) if (!this.book.isOpen(id)) this.sentAt.delete(id);
  }

  private expire(record: CommandRecord): void {
    const refusal = { code: 'expired', sentence: FAULTS.expired.sentence };
    const moved = this.store.moved(record, 'TIMEOUT', { refusal });
    const detail = { command: record.kind, instance: record.instance, agent: record.agentId };
    if (moved === undefined) {
      // A kill that was taken and never confirmed: nobody asks for it any longer, and the record says so.
      const given = this.store.moved(record, record.state, { isAnswered: true });
      const audit = [{ kind: 'kill.unconfirmed', subject: record.id, atMs: Date.now(), detail }];
      if (given !== undefined) this.store.keepAndWrite(given, audit);
      return;
    }
    this.store.keepAndWrite(moved, [{ kind: 'command.expired', subject: record.id, atMs: Date.now(), detail }]);
    this.answers.publish({ record: moved });
  }

  private mayOffer({ instance, kind }: CommandRecord): boolean {
    const state = this.connections.find(instance)?.state;
    return state === 'ACTIVE' || (state === 'SUSPENDED' && isKill(kind));
  }
}
