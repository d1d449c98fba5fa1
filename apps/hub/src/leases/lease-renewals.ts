import { Injectable } from '@nestjs/common';
import { makeHeader, signPayload } from '@capstan/identity';
import type { LinkPeer } from '@capstan/link';
import { create, Direction, encodeEnvelope, LeaseRenewalSchema, LIMITS, toBinary } from '@capstan/protocol';
import { ConnectionStore } from '../connections/connection.store.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { Stopping } from '../killswitch/stopping.js';
import { HeartbeatContents } from '../link/heartbeat-contents.js';
import { Freshness } from '../replicas/freshness.js';
import { Presence } from '../replicas/presence.js';

/** No agent lives longer without a renewal, whatever its spawn says: a week, which is the most that a spawn can say. */
export const LEASE_MS = 7 * 24 * 3_600_000;

/**
 * Renews leases: each heartbeat to an ACTIVE instance carries the hub's signed word that its agents may live on.
 *
 * A SUSPENDED one gets none: who may not be ordered to start agents has no agents by this hub's authority either, once
 * their leases have ended. (Those that were told to `keep` live on.)
 * Nor does one that was told to kill all that it runs, until that is proven; nor anyone from a replica that cannot know
 * whether it was revoked.
 */
@Injectable()
export class LeaseRenewals {
  private readonly startedAtMs = Date.now();
  private readonly last = new Map<string, { sessionEpoch: bigint; counter: bigint; atMs: number }>();

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly stopping: Stopping,
    heartbeats: HeartbeatContents,
    private readonly freshness: Freshness,
    private readonly presence: Presence,
  ) {
    heartbeats.register((_instance, peer) => ({ leaseRenewal: this.next(peer) }));
  }

  /** When an instance was last renewed by this hub or may have been by another replica, milliseconds. */
  lastByAnyMs(instance: string): number {
    return Math.max(this.lastAtMs(instance), this.presence.renewedBeforeMs(instance));
  }

  /** When this process has renewed it last, milliseconds; what it cannot know ended with the one before it. */
  lastAtMs(instance: string): number {
    return this.last.get(instance)?.atMs ?? this.startedAtMs;
  }

  private next({ peerId, sessionEpoch }: LinkPeer): Uint8Array | undefined {
    if (this.connections.find(peerId)?.state !== 'ACTIVE' || this.stopping.has(peerId)) return undefined;
    if (!this.freshness.isFresh) return undefined;
    const last = this.last.get(peerId);
    // A link that a newer one has replaced, and that is not closed yet.
    if (last !== undefined && last.sessionEpoch > sessionEpoch) return undefined;
    const counter = last?.sessionEpoch === sessionEpoch ? last.counter + 1n : 1n;
    const atMs = Date.now();
    this.last.set(peerId, { sessionEpoch, counter, atMs });
    return this.sign(peerId, sessionEpoch, counter, atMs);
  }

  private sign(instance: string, sessionEpoch: bigint, counter: bigint, nowMs: number): Uint8Array {
    const { hubId } = this.identity;
    const { key } = this.identity.signerFor(instance);
    const direction = Direction.HUB_TO_SPOKE;
    const lifetimeMs = LIMITS.renewalLifetimeMs;
    const renewal = create(LeaseRenewalSchema, {
      header: makeHeader({ issuer: hubId, audience: instance, direction, lifetimeMs, nowMs }),
      sessionEpoch,
      counter,
      durationMs: BigInt(LEASE_MS),
    });
    return encodeEnvelope(signPayload(key, 'lease', toBinary(LeaseRenewalSchema, renewal)));
  }
}
