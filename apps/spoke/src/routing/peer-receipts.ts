import { type VerifiedReceipt, verifyReceipt } from '@capstan/evidence';
import { type Belief, envelopeDigest, fromPublicKeyRecord, type KeyRecord, verifyAdmission } from '@capstan/identity';
import { type Admission, type Envelope, fromBinary, ReceiptSchema, type Routed, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import type { PeerAnswer, PeerOrder } from './peer-order.js';
import { PeerKeys } from './peer-keys.js';

/** Verifies what other instances answer, from end to end: the hub that hands it on can neither forge nor exchange it. */
@Injectable()
export class PeerReceipts {
  constructor(
    private readonly identity: SpokeIdentity,
    private readonly peers: PeerKeys,
  ) {}

  /** The digest of the command that a receipt says it answers; nothing in it is verified yet. @throws WireFault `envelope-malformed` */
  commandOf({ envelope }: Routed): Uint8Array {
    try {
      return fromBinary(ReceiptSchema, present(envelope).payload).commandDigest;
    } catch (cause) {
      throw new WireFault('envelope-malformed', 'no receipt', { cause });
    }
  }

  /**
   * Signed by the target, for this very command; a death in it observed by the target's own reaper. The keys are those
   * that are pinned for the target; where none are, the hub's word for them is taken once, and they are pinned.
   *
   * @throws WireFault as `verifyAdmission` and `verifyReceipt`; `receipt-mismatch`, `key-unknown`; LocalFault `trust-file-…`
   */
  async verify({ envelope: told, admission, keyStatements }: Routed, order: PeerOrder): Promise<PeerAnswer> {
    const { instanceId, hubKeys, hubId } = this.identity;
    const envelope = present(told);
    const digest = envelopeDigest(envelope);
    const want = { keys: hubKeys, audience: instanceId, digest, nowMs: 0, expiry: 'exempt' } as const;
    const vouched = keysOf(verifyAdmission(admission, want), order.target);
    const belief = await this.peers.following(keyStatements);
    const { keys, toPin } = this.peers.believed(belief, vouched);
    const receipt = this.verifyWith(belief, { envelope, keys, command: order.envelope, hubId });
    await this.peers.follow(keyStatements);
    await this.peers.pin(toPin);
    return { receipt, envelope };
  }

  private verifyWith(belief: Belief, what: Parameters<typeof verifyReceipt>[0]): VerifiedReceipt {
    try {
      return verifyReceipt(what);
    } catch (error) {
      throw this.peers.explained(error, belief, what.envelope);
    }
  }
}

function keysOf({ originKey, observerKey }: Admission, target: string): KeyRecord[] {
  if (originKey === undefined) throw new WireFault('admission-invalid', 'no key of the target');
  const identity = fromPublicKeyRecord(originKey, ['command', 'receipt']);
  const reaper = observerKey === undefined ? [] : [fromPublicKeyRecord(observerKey, ['observe'])];
  const vouched = [identity, ...reaper];
  if (vouched.some(({ owner }) => owner !== target)) throw new WireFault('receipt-mismatch', 'of another instance');
  return vouched;
}

function present(envelope: Envelope | undefined): Envelope {
  if (envelope === undefined) throw new WireFault('envelope-malformed', 'nothing was routed');
  return envelope;
}
