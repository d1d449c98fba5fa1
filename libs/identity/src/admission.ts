import {
  AdmissionSchema,
  bytesEqual,
  create,
  Direction,
  toBinary,
  WireFault,
  type Admission,
  type Envelope,
  type KillEpoch,
} from '@capstan/protocol';
import { makeHeader } from './header.js';
import type { KeyRecord } from './key-record.js';
import type { KeyRing } from './key-ring.js';
import { openEnvelope } from './open-envelope.js';
import { toPublicKeyRecord } from './public-key-record.js';
import { signPayload } from './signed-payload.js';
import type { SigningKey } from './signing-key.js';

export interface AdmissionInit {
  hubId: string;
  /** The hub's key of purpose `admit`. */
  key: SigningKey;
  /** Whom the admission is for: the target of a command, the origin of the command that a receipt answers. */
  audience: string;
  /** SHA-256 of the PAE of what is admitted. */
  digest: Uint8Array;
  /** Who signed it, as the hub has pinned them. */
  originKey: KeyRecord;
  /** Of a receipt: the key of the instance's reaper. */
  observerKey?: KeyRecord;
  tenant: string;
  /** How many further hubs may route it. */
  hopLimit: number;
  killEpochs?: readonly KillEpoch[];
  revocationEpoch?: bigint;
  /** 60 s unless told. */
  lifetimeMs?: number;
  nowMs?: number;
}

/** A hub's word on something that it routes for somebody else. */
export function makeAdmission(o: AdmissionInit): Envelope {
  const nowMs = Math.floor(o.nowMs ?? Date.now());
  const { hubId, audience, tenant, originKey, observerKey } = o;
  const direction = Direction.HUB_TO_SPOKE;
  const lifetime = o.lifetimeMs === undefined ? {} : { lifetimeMs: o.lifetimeMs };
  const admission = create(AdmissionSchema, {
    header: makeHeader({ issuer: hubId, audience, direction, tenant, nowMs, ...lifetime }),
    digest: o.digest,
    route: [originKey.owner, hubId],
    tenant,
    admittedAtMs: BigInt(nowMs),
    killEpochs: [...(o.killEpochs ?? [])],
    revocationEpoch: o.revocationEpoch ?? 0n,
    originKey: toPublicKeyRecord(originKey),
    ...(observerKey === undefined ? {} : { observerKey: toPublicKeyRecord(observerKey) }),
    hopLimit: o.hopLimit,
  });
  return signPayload(o.key, 'admission', toBinary(AdmissionSchema, admission));
}

export interface AdmissionDemand {
  /** Pinned keys of the hub; only one of purpose `admit` counts. */
  keys: KeyRing;
  /** Who I am. */
  audience: string;
  /** SHA-256 of the PAE of what came with it. */
  digest: Uint8Array;
  nowMs: number;
  /** `exempt` for kills, and for what was taken in time and is verified again later. */
  expiry?: 'checked' | 'exempt';
}

/**
 * Verifies that a hub has admitted exactly this: signature by a key of purpose `admit`, made for this receiver, over this
 * digest, with a route that begins at the owner of the vouched key, ends at the hub, and passes nobody twice.
 *
 * @throws {WireFault} `admission-missing`; `clock-skew`; `route-cycle`; `admission-invalid` for everything else, with
 *   what is wrong as its cause
 */
export function verifyAdmission(envelope: Envelope | undefined, want: AdmissionDemand): Admission {
  if (envelope === undefined) throw new WireFault('admission-missing');
  const { payload, owner } = open(envelope, want);
  const { route, originKey, digest } = payload;
  if (!bytesEqual(digest, want.digest)) throw new WireFault('admission-invalid', 'made for something else');
  if (originKey === undefined) throw new WireFault('admission-invalid', 'no key of the origin');
  if (route.includes(want.audience)) throw new WireFault('route-cycle', route.join(' '));
  if (new Set(route).size !== route.length) throw new WireFault('route-cycle', route.join(' '));
  if (route.length < 2 || route[0] !== originKey.owner || route.at(-1) !== owner) {
    throw new WireFault('admission-invalid', `route ${route.join(' ')}`);
  }
  return payload;
}

function open(envelope: Envelope, want: AdmissionDemand): { payload: Admission; owner: string } {
  try {
    const { payload, key } = openEnvelope(envelope, AdmissionSchema, {
      kind: 'admission',
      purpose: 'admit',
      keys: want.keys,
      audience: want.audience,
      direction: Direction.HUB_TO_SPOKE,
      nowMs: want.nowMs,
      ...(want.expiry === undefined ? {} : { expiry: want.expiry }),
    });
    return { payload, owner: key.owner };
  } catch (error) {
    // The only one that a repetition can mend.
    if (error instanceof WireFault && error.code === 'clock-skew') throw error;
    throw new WireFault('admission-invalid', error instanceof WireFault ? error.code : undefined, { cause: error });
  }
}
