import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { createLogger } from '@capstan/platform';
import { CommandSchema, decodeStrict, newId } from '@capstan/protocol';
import { Answers } from '../commands/answers.js';
import { CommandBook } from '../commands/command.book.js';
import { CommandDesk } from '../commands/command-desk.js';
import { type CommandRecord, isPursued } from '../commands/command-record.js';
import { DroppedCommands } from '../commands/dropped-commands.js';
import { OTHERS_MS } from '../commands/outbox.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { Killswitch } from './killswitch.js';

const LOOK_MS = 1_000;

/**
 * Open kills whose key is believed no longer, since this hub has another one: ordered anew under that, or an instance that
 * was away would refuse them. The old command says which one serves it; whoever waits for it hears of that one.
 */
@Injectable()
export class RenewedKills implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly log = createLogger('hub.killswitch');
  private timer: NodeJS.Timeout | undefined;
  /** Another replica’s, by command: since when it is outlived, milliseconds of a steady clock. */
  private readonly outlivedSince = new Map<string, number>();

  constructor(
    private readonly identity: HubIdentity,
    private readonly book: CommandBook,
    private readonly desk: CommandDesk,
    private readonly answers: Answers,
    private readonly dropped: DroppedCommands,
    private readonly killswitch: Killswitch,
  ) {}

  onApplicationBootstrap(): void {
    this.timer = setInterval(() => {
      for (const id of this.outlivedSince.keys()) if (!this.book.isOpen(id)) this.outlivedSince.delete(id);
      this.renew(this.book.allOpen());
    }, LOOK_MS);
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  /** For an instance that comes, before it is offered anything. */
  renewFor(instance: string): void {
    this.renew(this.book.openOf(instance));
  }

  private renew(open: readonly CommandRecord[]): void {
    for (const record of open) {
      if (!isPursued(record) || !this.isOutlived(record) || this.isLeftToOthers(record.id)) continue;
      try {
        if (record.kind === 'agent.kill-all') this.killswitch.renew(record);
        else this.one(record);
      } catch (err) {
        this.log.warn({ err, command: record.id, msg: 'a kill could not be ordered anew' });
      }
    }
  }

  /** Another replica's are its own to renew, and reach this one as new: unless it is gone. */
  private isLeftToOthers(id: string): boolean {
    if (!this.book.isForeign(id)) return false;
    const since = this.outlivedSince.get(id) ?? performance.now();
    this.outlivedSince.set(id, since);
    return performance.now() - since < OTHERS_MS;
  }

  private one(record: CommandRecord): void {
    const { id: old, instance, agentId, envelope, expiresAt } = record;
    const { header, body } = decodeStrict(CommandSchema, envelope.payload);
    const lifetimeMs = expiresAt.getTime() - Date.now();
    if (header === undefined || body.case === undefined || lifetimeMs <= 0) return;
    const id = newId();
    this.answers.goesOn(old, id);
    const { tenant, onBehalfOf } = header;
    void this.desk.kill({ id, instance, agentId, body, tenant, onBehalfOf, lifetimeMs });
    this.dropped.superseded(record, 'key-revoked', id);
  }

  /** Not while the instance has still to hear of the key that it would be ordered anew with. */
  private isOutlived({ instance, envelope }: CommandRecord): boolean {
    const isBelieved = (keyId: string): boolean => {
      const key = this.identity.ring.get(keyId);
      return key !== undefined && key.revokedAt === undefined;
    };
    if (envelope.signatures.some(({ keyId }) => isBelieved(keyId))) return false;
    return isBelieved(this.identity.signerFor(instance).key.keyId);
  }
}
