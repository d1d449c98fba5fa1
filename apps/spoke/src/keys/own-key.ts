import { envelopeDigest, keyRecord, makeKeyStatement } from '@capstan/identity';
import type { Link } from '@capstan/link';
import { createLogger, metrics } from '@capstan/platform';
import {
  create,
  decodeEnvelope,
  Direction,
  encodeEnvelope,
  type Envelope,
  fromBase64,
  LinkMessageSchema,
  type Rejection,
  toBase64,
  toHex,
} from '@capstan/protocol';
import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { INSTANCE_PURPOSES, SpokeIdentity } from '../instance/spoke-identity.js';
import { OwnKeyFiles, type OwnKeyRecord, type PendingKey } from './own-key-files.js';

const REPEAT_MS = 5_000;
const ANSWER_MS = 10_000;
/** The longest that a timer can be set for. */
const MOST_TIMER_MS = 2_147_483_647;

/** The instance's key as its owner sees it. */
export interface OwnKeyView {
  instanceId: string;
  /** Key that signs now. */
  keyId: string;
  epoch: number;
  /** Until when the key before is believed; null where there is none, or its time is over. */
  oldUntil: string | null;
  /** `waiting`: the hub has not answered about `nextKeyId` yet; it is told until it does. */
  answer: { is: 'taken' } | { is: 'waiting'; nextKeyId: string } | { is: 'refused'; code: string };
}

/** Replaces the instance's identity key: the hub is told until it answers, and only then does the new key sign. */
@Injectable()
export class OwnKey implements OnModuleInit, OnModuleDestroy {
  private readonly log = createLogger('spoke.keys');
  private readonly files: OwnKeyFiles;
  private record: OwnKeyRecord | undefined;
  private pending: { content: PendingKey; envelope: Envelope; digest: string } | undefined;
  private refusedWith: string | undefined;
  private link: Link | undefined;
  private repeat: NodeJS.Timeout | undefined;
  private forget: NodeJS.Timeout | undefined;
  private hear: () => void = () => undefined;
  private working: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly config: SpokeConfig,
    private readonly identity: SpokeIdentity,
    private readonly audit: Audit,
  ) {
    this.files = new OwnKeyFiles(config.dir);
  }

  /** @throws LocalFault `key-record-malformed` */
  async onModuleInit(): Promise<void> {
    this.learned(await this.files.remember(this.identity.key.keyId));
    const pending = await this.files.pending();
    if (pending !== undefined) this.wait(pending);
  }

  onModuleDestroy(): void {
    clearInterval(this.repeat);
    clearTimeout(this.forget);
    this.hear();
  }

  view(): OwnKeyView {
    const { keyId } = this.identity.key;
    const { epoch, oldUntilMs } = this.known;
    const answer: OwnKeyView['answer'] =
      this.pending !== undefined
        ? { is: 'waiting', nextKeyId: this.pending.content.keyId }
        : this.refusedWith === undefined
          ? { is: 'taken' }
          : { is: 'refused', code: this.refusedWith };
    const oldUntil = oldUntilMs > this.config.now() ? new Date(oldUntilMs).toISOString() : null;
    return { instanceId: this.identity.instanceId, keyId, epoch, oldUntil, answer };
  }

  /** Begins a rotation, or goes on with the one that is under way; resolves with the hub's answer, or once that takes too long. */
  async rotate(overlapMs: number): Promise<OwnKeyView> {
    const heard = new Promise<void>((resolve) => (this.hear = resolve));
    await this.inTurn(async () => {
      if (this.pending === undefined) await this.begin(overlapMs);
    });
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), ANSWER_MS);
    await Promise.race([heard, late.promise]);
    clearTimeout(timer);
    return this.view();
  }

  /** A new link: what the hub has not answered is said again on it. */
  attach(link: Link): void {
    this.link = link;
    clearInterval(this.repeat);
    this.repeat = setInterval(() => void this.send(), REPEAT_MS);
    void link.closed.then(() => {
      if (this.link !== link) return;
      clearInterval(this.repeat);
      this.link = undefined;
    });
    void this.send();
  }

  /** Whether that was the answer to a statement of ours. */
  acknowledged(digest: Uint8Array): boolean {
    if (this.pending?.digest !== toHex(digest)) return false;
    void this.inTurn(() => this.adopt('the hub has taken it'));
    return true;
  }

  /** Whether that was the answer to a statement of ours. One that a repetition cannot help ends the rotation. */
  rejected({ digest, code, retryable }: Rejection): boolean {
    if (this.pending?.digest !== toHex(digest)) return false;
    metrics.countRefusal('key-statement');
    this.log.error({ msg: 'the hub does not take the new key', code: code.slice(0, 63), retryable });
    if (!retryable) void this.inTurn(() => this.drop(code.slice(0, 63)));
    return true;
  }

  /**
   * The hub says that the key is revoked. Where another waits, or the owner has put one in its place, that may be because
   * the hub has taken it and nobody heard: it signs from now on. False where there is none.
   */
  async replacesRevoked(): Promise<boolean> {
    return this.inTurn(async () => {
      const pending = this.pending?.content ?? (await this.files.pending());
      if (pending !== undefined) {
        this.wait(pending);
        await this.adopt('the hub has revoked the key before');
        return true;
      }
      const onDisk = await this.identity.keyOnDisk(this.config.dir);
      if (onDisk.keyId === this.identity.key.keyId) return false;
      const record = await this.files.record(onDisk.keyId);
      this.identity.replaceKey(onDisk, record.epoch);
      this.learned(record);
      return true;
    });
  }

  private get known(): OwnKeyRecord {
    const { keyId } = this.identity.key;
    return this.record ?? { version: 1, keyId, epoch: 1, oldUntilMs: 0, statements: [] };
  }

  private async begin(overlapMs: number): Promise<void> {
    const { instanceId, hubId, key: by } = this.identity;
    const key = await this.files.next();
    const nowMs = this.config.now();
    const oldUntilMs = nowMs + overlapMs;
    const { epoch } = this.known;
    const old = { ...keyRecord(instanceId, by.publicKey, INSTANCE_PURPOSES), epoch };
    const about = { old, key, by, hubId, direction: Direction.SPOKE_TO_HUB };
    const statement = toBase64(encodeEnvelope(makeKeyStatement({ ...about, oldUntilMs, nowMs })));
    const pending: PendingKey = { version: 1, keyId: key.keyId, epoch: epoch + 1, oldUntilMs, statement };
    const detail = { oldKey: by.keyId, newKey: key.keyId, oldUntil: new Date(oldUntilMs).toISOString() };
    await this.audit.append({ kind: 'key.stated', subject: instanceId, detail });
    await this.files.keep(pending);
    this.refusedWith = undefined;
    this.wait(pending);
    await this.send();
  }

  private wait(content: PendingKey): void {
    const envelope = decodeEnvelope(fromBase64(content.statement));
    this.pending = { content, envelope, digest: toHex(envelopeDigest(envelope)) };
  }

  private async send(): Promise<void> {
    if (this.pending === undefined || this.link === undefined) return;
    const body = { case: 'envelope' as const, value: this.pending.envelope };
    await this.link.send('control', create(LinkMessageSchema, { body })).catch(() => undefined);
  }

  private async adopt(why: string): Promise<void> {
    if (this.pending === undefined) return;
    const { content } = this.pending;
    const key = await this.files.adopt(content, this.known);
    this.audit.note({
      kind: 'key.replaced',
      subject: this.identity.instanceId,
      detail: { newKey: content.keyId, why },
    });
    this.identity.replaceKey(key, content.epoch);
    this.pending = undefined;
    this.learned(await this.files.record(key.keyId));
    this.log.info({ msg: 'another key signs from now on', keyId: key.keyId, why });
    // The next link proves the new key.
    void this.link?.close('closed', 'The instance has another key.');
    this.hear();
  }

  private async drop(code: string): Promise<void> {
    await this.files.discard();
    this.pending = undefined;
    this.refusedWith = code;
    this.audit.note({ kind: 'key.refused', subject: this.identity.instanceId, detail: { code } });
    this.hear();
  }

  private learned(record: OwnKeyRecord): void {
    this.record = record;
    this.identity.replaceKey(this.identity.key, record.epoch);
    clearTimeout(this.forget);
    if (record.oldUntilMs === 0) return;
    const leftMs = Math.min(Math.max(record.oldUntilMs - this.config.now(), 0), MOST_TIMER_MS);
    this.forget = setTimeout(() => void this.files.forgetOld(), leftMs).unref();
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.working.then(work);
    this.working = done.catch((error: unknown) => this.log.error({ err: error, msg: 'the key was not replaced' }));
    return done;
  }
}
