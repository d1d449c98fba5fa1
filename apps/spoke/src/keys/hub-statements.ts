import {
  envelopeDigest,
  KeyRing,
  type KeyStatementDemand,
  pinSuccessor,
  saveTrust,
  type VerifiedKeyStatement,
  verifyKeyStatement,
} from '@capstan/identity';
import { createLogger, metrics, ReaperClient } from '@capstan/platform';
import {
  decodeStrict,
  Direction,
  encodeEnvelope,
  type Envelope,
  isFaultCode,
  KeyStatementSchema,
  toHex,
  WireFault,
} from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import type { Reply } from '../link/reply.js';

/** Takes the hub's statements that another key is its own: pinned here, and by the reaper, before they are acknowledged. */
@Injectable()
export class HubStatements {
  private readonly log = createLogger('spoke.keys');
  private taking: Promise<void> | undefined;

  constructor(
    private readonly config: SpokeConfig,
    private readonly identity: SpokeIdentity,
    private readonly reaper: ReaperClient,
    private readonly audit: Audit,
  ) {}

  /** Settles once the statement that is being taken is; undefined where none is. What comes behind it may need its key. */
  get inHand(): Promise<void> | undefined {
    return this.taking;
  }

  /** Never throws: what is wrong is the hub's to hear. */
  take(envelope: Envelope, reply: Reply): Promise<void> {
    const digest = envelopeDigest(envelope);
    const taking = (this.taking ?? Promise.resolve())
      .then(() => this.pin(envelope))
      .then(
        () => reply.acknowledge(digest),
        (error: unknown) => {
          const fault = error instanceof WireFault ? error : new WireFault('internal', undefined, { cause: error });
          metrics.countRefusal(fault.code);
          this.log.error({ err: error, msg: 'a statement about the hub’s key was not taken' });
          reply.reject(digest, fault);
        },
      )
      .finally(() => {
        if (this.taking === taking) this.taking = undefined;
      });
    this.taking = taking;
    return taking;
  }

  /** A hub's old key that signs for a second one is in other hands than the hub's: its owner's people must hear of it. */
  private verified(envelope: Envelope, want: KeyStatementDemand): VerifiedKeyStatement {
    try {
      return verifyKeyStatement(envelope, want);
    } catch (error) {
      if (!(error instanceof WireFault && error.code === 'key-fork')) throw error;
      const { oldKeyId: oldKey, newKey } = decodeStrict(KeyStatementSchema, envelope.payload);
      const detail = { oldKey, newKey: newKey?.keyId ?? '', statement: toHex(envelopeDigest(envelope)) };
      this.log.error({ ...detail, msg: 'a key of the hub has signed for two keys in its place' });
      this.audit.noteSome({ kind: 'hub.key-forked', subject: this.identity.hubId, detail });
      throw error;
    }
  }

  private async pin(envelope: Envelope): Promise<void> {
    const { hubKeys, hubId } = this.identity;
    const { newKey: told } = decodeStrict(KeyStatementSchema, envelope.payload);
    if (hubKeys.get(told?.keyId ?? '') !== undefined) return;
    const want = { keys: hubKeys, hubId, direction: Direction.HUB_TO_SPOKE, nowMs: this.config.now() };
    const { newKey, oldKey, digest } = this.verified(envelope, want);
    const answer = await this.reaper.replaceHubKey(encodeEnvelope(envelope));
    if (!answer.ok) throw new WireFault(isFaultCode(answer.code) ? answer.code : 'key-statement', 'the reaper');
    const detail = { oldKey: oldKey.keyId, newKey: newKey.keyId, statement: toHex(digest) };
    await this.audit.append({ kind: 'hub.key-replaced', subject: hubId, detail });
    const next = new KeyRing(hubKeys.records());
    pinSuccessor(next, newKey, oldKey);
    await saveTrust(this.config.dir.trustFile, next);
    pinSuccessor(hubKeys, newKey, oldKey);
    this.log.info({ msg: 'the hub has another key', keyId: newKey.keyId, oldKeyId: oldKey.keyId });
  }
}
