import { makeHeader, signPayload } from '@capstan/identity';
import { metrics } from '@capstan/platform';
import {
  create,
  decodeEnvelope,
  Direction,
  encodeEnvelope,
  EventSchema,
  fromBase64,
  fromHex,
  toBase64,
  toBinary,
  toHex,
  WireFault,
} from '@capstan/protocol';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { OutboxSender } from '../receipts/outbox.sender.js';
import { type OutboxItem, outboxItem } from '../receipts/signed-item.js';
import { postWish, type WishAnswer } from './post-wish.js';
import { readWish, type Wish, type WishState, writeWish } from './wish-file.js';

/** How long a wish stands in the outbox of an owner whose hub is away. */
const LIFETIME_MS = 30 * 24 * 3_600_000;
/** What the owner waits for the hub's answer to his wish. */
const ANSWER_MS = 2_000;

/**
 * What the owner wishes for the connection. It holds here at once, whatever the hub makes of it: while the owner has
 * suspended, nothing but kills and probes is taken from the hub. The hub is told by a signed event.
 */
@Injectable()
export class OwnerWishes implements OnModuleInit {
  private wish: Wish | undefined;
  private item: OutboxItem | undefined;
  private answer: WishAnswer = { is: 'taken' };
  private hear: () => void = () => undefined;

  constructor(
    private readonly config: SpokeConfig,
    private readonly identity: SpokeIdentity,
    private readonly outbox: OutboxSender,
    private readonly audit: Audit,
  ) {}

  /** @throws LocalFault `wish-malformed` */
  async onModuleInit(): Promise<void> {
    const wish = await readWish(this.config.dir.wishFile);
    if (wish?.connectionId !== this.identity.instance.connectionId) return;
    // The hub knows a repetition by its time.
    this.tell(wish);
  }

  /** ACTIVE where the owner has wished nothing else. */
  get state(): WishState {
    return this.wish?.state ?? 'ACTIVE';
  }

  /** The hub's answer to the last wish. */
  get answered(): WishAnswer {
    return this.answer;
  }

  /** The envelope of the last wish, base64; undefined where there was none. */
  get envelope(): string | undefined {
    return this.wish?.envelope;
  }

  /** For everything but kills and probes. @throws WireFault `connection-not-active` while the owner holds it back */
  checkOpen(): void {
    if (this.state !== 'ACTIVE') throw new WireFault('connection-not-active', `${this.state} by the owner`);
  }

  /**
   * Takes the owner's wish: audited and on disk before it holds. Resolves with the hub's answer, or once that takes
   * too long.
   *
   * @param isOnline false where there is no link, say because nobody has approved yet: the hub is told by HTTP then.
   * @throws WireFault `connection-transition` after a disconnect: from there the instance enrols again
   */
  async express(state: WishState, reason: string, isOnline: boolean): Promise<WishAnswer> {
    if (this.state === 'DISCONNECTED' && state !== 'DISCONNECTED')
      throw new WireFault('connection-transition', 'disconnected by the owner');
    const { connectionId } = this.identity.instance;
    const atMs = Math.max(this.config.now(), (this.wish?.atMs ?? 0) + 1);
    await this.audit.append({ kind: 'connection.wished', subject: connectionId, detail: { state, reason } });
    const wish: Wish = { version: 1, connectionId, state, atMs, envelope: this.sign(state, reason, atMs) };
    await writeWish(this.config.dir.wishFile, wish);
    const heard = new Promise<void>((resolve) => (this.hear = resolve));
    this.tell(wish);
    if (!isOnline) void this.post(wish);
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), ANSWER_MS);
    await Promise.race([heard, late.promise]);
    clearTimeout(timer);
    return this.answer;
  }

  /** The hub has answered the envelope of this digest: with a code where it refused. */
  answeredBy(digest: Uint8Array, code?: string): void {
    if (this.item?.digest !== toHex(digest)) return;
    this.settle(code === undefined ? { is: 'taken' } : { is: 'refused', code });
  }

  /** The hub will have no link: where that is what the owner wished, it was understood, and need not be said again. */
  isAsWished(): boolean {
    if (this.state !== 'DISCONNECTED') return false;
    if (this.item !== undefined) this.outbox.acknowledged(fromHex(this.item.digest));
    this.settle({ is: 'taken' });
    return true;
  }

  private async post(wish: Wish): Promise<void> {
    const answer = await postWish(this.identity.instance, wish.envelope);
    if (this.wish !== wish || answer.is === 'waiting') return;
    if (this.item !== undefined) this.outbox.acknowledged(fromHex(this.item.digest));
    this.settle(answer);
  }

  private settle(answer: WishAnswer): void {
    if (answer.is === 'refused') metrics.countRefusal(answer.code);
    this.answer = answer;
    this.hear();
  }

  private tell(wish: Wish): void {
    this.wish = wish;
    this.answer = { is: 'waiting' };
    this.item = outboxItem('events', decodeEnvelope(fromBase64(wish.envelope)));
    this.outbox.offerUnstored(this.item);
  }

  private sign(state: WishState, reason: string, nowMs: number): string {
    const { instanceId: issuer, hubId: audience, key, keyEpoch } = this.identity;
    const direction = Direction.SPOKE_TO_HUB;
    const event = create(EventSchema, {
      header: makeHeader({ issuer, audience, direction, lifetimeMs: LIFETIME_MS, nowMs, keyEpoch }),
      body: { case: 'connectionWish', value: { state, reason } },
    });
    return toBase64(encodeEnvelope(signPayload(key, 'event', toBinary(EventSchema, event))));
  }
}
