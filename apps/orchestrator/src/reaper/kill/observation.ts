import { makeHeader, signPayload, type SigningKey } from '@capstan/identity';
import {
  create,
  Direction,
  encodeEnvelope,
  fromHex,
  killOutcome,
  ObservationSchema,
  toBase64,
  toBinary,
} from '@capstan/protocol';
import type { KillHandle } from '@capstan/sandbox';
import type { Death, Order } from '../register/record.js';

/** A death stays one: observations outlive every certificate and log. Ten years, milliseconds. */
const LIFETIME_MS = 10 * 365 * 24 * 3600 * 1000;

/** Signs what the reaper saw, with the reaper's own key: nobody else can make a death. */
export class ObservationSigner {
  constructor(
    private readonly key: SigningKey,
    private readonly instanceId: string,
    private readonly bootId: string,
  ) {}

  /** The observation for one order, `handle` being null where the agent was never registered. */
  sign(agentId: string, order: Order | null, handle: KillHandle | null, seen: Omit<Death, 'observation'>): Death {
    const observation = create(ObservationSchema, {
      header: makeHeader({
        issuer: this.instanceId,
        audience: this.instanceId,
        direction: Direction.LOCAL,
        lifetimeMs: LIFETIME_MS,
      }),
      agentId,
      commandDigest: order === null ? new Uint8Array() : fromHex(order.digest),
      outcome: killOutcome(seen.outcome),
      orderedAtMs: BigInt(seen.orderedAtMs),
      signalledAtMs: BigInt(seen.signalledAtMs),
      observedAtMs: BigInt(seen.observedAtMs),
      bootId: handle?.bootId ?? this.bootId,
      processes: handle?.processes ?? [],
      pidNamespace: handle?.pidNamespace ?? 0n,
      cgroup: handle?.cgroup ?? '',
      membersBefore: seen.membersBefore,
    });
    const envelope = signPayload(this.key, 'observation', toBinary(ObservationSchema, observation));
    return { ...seen, observation: toBase64(encodeEnvelope(envelope)) };
  }
}
