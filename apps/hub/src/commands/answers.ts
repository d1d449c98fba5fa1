import { type BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import type { TakenReceipt } from '../receipts/taken-receipt.js';
import type { CommandRecord } from './command-record.js';

/** A hub that goes down does not wait longer for answers: whoever asked asks again, maybe another replica. */
const LAST_WAIT_MS = 3_000;

/** News of a command: a verified receipt, or an end without one. */
export interface Answer {
  record: CommandRecord;
  receipt?: TakenReceipt;
  /** Another replica has taken it and writes what follows from it. */
  isElsewhere?: boolean;
  /** It goes on as another command: whoever waits for it hears of that one instead. */
  isSuperseded?: boolean;
}

/** Somebody who listens for answers to one command until he is disposed. */
export interface AnswerListener extends Disposable {
  /** The first answer, since listening began, that is enough; undefined where none has come within `ms`. */
  next(ms: number, isEnough?: (answer: Answer) => boolean): Promise<Answer | undefined>;
}

/** Brings answers to the requests that wait for them. */
@Injectable()
export class Answers implements BeforeApplicationShutdown {
  private readonly closing = new AbortController();
  private readonly listeners = new Map<string, Set<Listener>>();
  private readonly others: ((answer: Answer) => void)[] = [];

  /** `hear` is called for the answers to all commands; it must not throw. */
  onAny(hear: (answer: Answer) => void): void {
    this.others.push(hear);
  }

  /** The server waits for its requests to end. */
  beforeApplicationShutdown(): void {
    setTimeout(() => {
      this.closing.abort();
    }, LAST_WAIT_MS).unref();
  }

  /** Whether somebody waits for answers to this command. */
  isAwaited(commandId: string): boolean {
    return this.listeners.has(commandId);
  }

  publish(answer: Answer): void {
    for (const hear of this.others) hear(answer);
    if (answer.isSuperseded === true) return;
    for (const listener of this.listeners.get(answer.record.id) ?? []) listener.hear(answer);
  }

  /** Begin to listen before the command is sent, and an answer cannot be missed. */
  listen(commandId: string): AnswerListener {
    const listener = new Listener(this.closing.signal);
    this.join(listener, commandId);
    return listener;
  }

  /** Whoever waits for answers to a command hears those to `successor` too. */
  goesOn(commandId: string, successor: string): void {
    for (const listener of this.listeners.get(commandId) ?? []) this.join(listener, successor);
  }

  private join(listener: Listener, commandId: string): void {
    const all = this.listeners.get(commandId) ?? new Set<Listener>();
    this.listeners.set(commandId, all.add(listener));
    listener.onLeave.push(() => {
      all.delete(listener);
      if (all.size === 0 && this.listeners.get(commandId) === all) this.listeners.delete(commandId);
    });
  }
}

class Listener implements AnswerListener {
  private readonly heard: Answer[] = [];
  private tell: ((answer: Answer) => void) | undefined;
  readonly onLeave: (() => void)[] = [];

  constructor(private readonly closing: AbortSignal) {}

  hear(answer: Answer): void {
    this.heard.push(answer);
    this.tell?.(answer);
  }

  async next(ms: number, isEnough: (answer: Answer) => boolean = () => true): Promise<Answer | undefined> {
    const known = this.heard.find(isEnough);
    if (known !== undefined || ms <= 0 || this.closing.aborted) return known;
    const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
    const giveUp = (): void => {
      resolve(undefined);
    };
    const timer = setTimeout(giveUp, ms);
    this.closing.addEventListener('abort', giveUp, { once: true });
    this.tell = (answer) => {
      if (isEnough(answer)) resolve(answer);
    };
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.closing.removeEventListener('abort', giveUp);
      this.tell = undefined;
    }
  }

  [Symbol.dispose](): void {
    for (const leave of this.onLeave) leave();
  }
}
