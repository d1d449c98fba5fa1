import type { RoutedTrust } from '@capstan/identity';
import { checkOrigin, type CommandOrigin, createLogger } from '@capstan/platform';
import { type Routed, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import { RevocationEpoch } from '../connection/revocation-epoch.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { OwnerPolicyFile } from '../policy/owner-policy.js';
import type { VerifiedCommand } from '../verify/verify-order.js';
import { verifyRouted } from '../verify/verify-routed.js';
import { PeerKeys } from './peer-keys.js';
import { TrustRing } from './trust-ring.js';

/** Who orders: whose signature is believed at all, and whether the owner lets them. */
@Injectable()
export class Origins {
  private readonly log = createLogger('spoke.origins');
  private readonly operators: TrustRing;

  constructor(
    private readonly identity: SpokeIdentity,
    private readonly config: SpokeConfig,
    private readonly policy: OwnerPolicyFile,
    private readonly peers: PeerKeys,
    private readonly revocations: RevocationEpoch,
  ) {
    this.operators = new TrustRing(config.dir.operatorsFile);
  }

  /** Operators that the owner has pinned. @throws LocalFault `trust-file-…` */
  operatorKeys(): ReturnType<TrustRing['current']> {
    return this.operators.current();
  }

  /** Verifies a command that came with the hub's admission. @throws WireFault as `verifyRouted`; LocalFault `trust-file-…` */
  async verify(routed: Routed): Promise<VerifiedCommand> {
    const { instanceId, hubKeys: hub } = this.identity;
    const { keyStatements, envelope } = routed;
    const [operators, belief] = await Promise.all([this.operators.current(), this.peers.following(keyStatements)]);
    const trust: RoutedTrust = { hub, operators, peers: this.peers.forOrders(belief) };
    const receiver = { instanceId, trust, nowMs: this.config.now() };
    let verified: ReturnType<typeof verifyRouted>;
    try {
      verified = verifyRouted(routed, receiver);
    } catch (error) {
      throw this.peers.explained(error, belief, envelope);
    }
    const { order, revocationEpoch } = verified;
    const kept = this.peers.follow(keyStatements);
    // A kill waits for no file.
    if (order.body.case !== 'kill') await kept;
    else kept.catch((error: unknown) => this.log.error({ err: error, msg: 'the new key of a peer was not kept' }));
    // A kill is not held up by numbers that may have overtaken it.
    if (order.body.case !== 'kill' && revocationEpoch < this.revocations.current) {
      throw new WireFault('admission-older', `of revocation epoch ${String(revocationEpoch)}`);
    }
    return order;
  }

  /**
   * The owner's word on who orders this, for what is no kill. A peer that may is known by its key from now on.
   *
   * @returns why it is refused
   * @throws WireFault `key-unknown`; LocalFault `policy-…`, `trust-file-…`
   */
  async judge(order: VerifiedCommand): Promise<WireFault | undefined> {
    try {
      checkOrigin(await this.policy.current(), order.body.case, originOf(order));
    } catch (error) {
      if (error instanceof WireFault) return error;
      throw error;
    }
    if (order.routed?.isFirstUse === true) await this.peers.pin([order.key]);
    return undefined;
  }

  /** Kills are taken from the hub and from operators whatever the policy says. @throws WireFault `policy-peer` */
  async checkKill(order: VerifiedCommand): Promise<void> {
    const origin = originOf(order);
    if (origin.kind === 'peer') checkOrigin(await this.policy.current(), order.body.case, origin);
  }
}

/** What an operator has granted counts as his own, whoever carries it out. */
function originOf({ routed, issuer, grants }: VerifiedCommand): CommandOrigin {
  if (grants !== undefined) return { kind: 'operator' };
  if (routed === undefined) return { kind: 'hub' };
  return routed.origin === 'operator' ? { kind: 'operator' } : { kind: 'peer', instance: issuer };
}
