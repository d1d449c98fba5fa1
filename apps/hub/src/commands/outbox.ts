import { Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { FAULTS, type LinkMessage, WireFault } from '@capstan/protocol';
import { ConnectionMoves } from '../connections/connection-moves.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { ReplicaBus } from '../replicas/replica-bus.js';
import { killMessage } from '../replicas/kill-message.js';
import { Admissions } from '../routing/admissions.js';
import { Answers } from './answers.js';
import { CommandBook } from './command.book.js';
import { type CommandRecord, isKill } from './command-record.js';
import { CommandStore } from './command.store.js';
import { DroppedCommands } from './dropped-commands.js';

const SWEEP_MS = 1_000;
/** An open link on which a command was not acknowledged for so long gets it again. */
const REPEAT_MS = 5_000;
/** A kill that its instance refuses is offered ever more rarely, but at least so often, and on each new link. */
const MOST_PAUSE_MS = 60_000;
/** The replica that has issued a command fails it where it must be; another does so once that one had this time. */
export const OTHERS_MS = 5_000;

interface Offered {
  steadyMs: number;
  /** How long after it the next offer may come. */
  pauseMs: number;
}

/** Offers open commands to their instances: until they are acknowledged, or for a kill confirmed, or expire. */
@Injectable()
export class Outbox implements OnModuleInit, OnApplicationShutdown {
  private readonly offered = new Map<string, Offered>();
  private readonly overSince = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly book: CommandBook,
    private readonly store: CommandStore,
    private readonly links: LinkRegistry,
    private readonly connections: ConnectionStore,
    private readonly answers: Answers,
    private readonly dropped: DroppedCommands,
    private readonly moves: ConnectionMoves,
    private readonly admissions: Admissions,
    private readonly bus: ReplicaBus,
  ) {}

  onModuleInit(): void {
    this.moves.onMoved(({ instanceId, state }, from) => {
      if (state === 'ACTIVE' && from === 'SUSPENDED') this.offerAll(instanceId);
    });
    this.timer = setInterval(() => {
      this.sweep();
    }, SWEEP_MS);
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  /** Sends the command if its instance is there; else it waits for it. A kill is sent on to the other replicas then. */
  offer(record: CommandRecord): void {
    const { id, instance, kind } = record;
    if (!this.mayOffer(record)) return;
    this.offered.set(id, { steadyMs: performance.now(), pauseMs: this.pauseAfter(record) });
    const isElsewhere = this.links.of(instance) === undefined && !this.book.isForeign(id);
    if (isKill(kind) && isElsewhere) this.bus.publish(killMessage(record));
    const message = this.messageOf(record);
    if (message === undefined) return;
    void this.links.send(instance, isKill(kind) ? 'kill' : 'commands', message);
  }

  /** For an instance that is back: everything that is open, kills first. */
  offerAll(instance: string): void {
    for (const record of this.book.openOf(instance)) this.offer(record);
  }

  /**
   * Expires what is past its time, and offers again what is still open. Times of its own are steady: a clock that was set
   * ahead and back again holds nothing up.
   *
   * @param nowMs the wall clock, milliseconds since the epoch
   * @param steadyMs milliseconds of a clock that nobody sets
   */
  sweep(nowMs = Date.now(), steadyMs = performance.now()): void {
    for (const record of this.book.allOpen()) {
      if (this.isLeftToOthers(record, nowMs, steadyMs)) continue;
      if (this.dropped.isDropped(record)) continue;
      const offered = this.offered.get(record.id);
      if (record.expiresAt.getTime() <= nowMs) this.expire(record);
      else if (offered === undefined || offered.steadyMs + offered.pauseMs <= steadyMs) this.offer(record);
    }
    for (const id of this.offered.keys()) if (!this.book.isOpen(id)) this.offered.delete(id);
    for (const id of this.overSince.keys()) if (!this.book.isOpen(id)) this.overSince.delete(id);
  }

  private pauseAfter({ id, refusal }: CommandRecord): number {
    const last = this.offered.get(id);
    return refusal === null || last === undefined ? REPEAT_MS : Math.min(MOST_PAUSE_MS, last.pauseMs * 2);
  }

  /** Whether the command is over, and the replica that has issued it has still time to say so. */
  private isLeftToOthers(record: CommandRecord, nowMs: number, steadyMs: number): boolean {
    const { id, expiresAt } = record;
    if (!this.book.isForeign(id)) return false;
    if (expiresAt.getTime() > nowMs && this.dropped.codeOf(record) === undefined) return false;
    const since = this.overSince.get(id) ?? steadyMs;
    this.overSince.set(id, since);
    return steadyMs - since < OTHERS_MS;
  }

  /** Undefined, and the command dropped, where its origin may order nothing any longer. */
  private messageOf(record: CommandRecord): LinkMessage | undefined {
    try {
      return this.admissions.messageOf(record);
    } catch (error) {
      if (!(error instanceof WireFault)) throw error;
      this.dropped.drop(record, error.code);
      return undefined;
    }
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
