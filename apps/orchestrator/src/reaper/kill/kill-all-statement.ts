import { makeHeader, signPayload, type SigningKey } from '@capstan/identity';
import {
  create,
  Direction,
  encodeEnvelope,
  fromHex,
  KillAllStatementSchema,
  KillScope,
  toBase64,
  toBinary,
} from '@capstan/protocol';
import type { Order, Scope } from '../register/record.js';

/** Evidence of what a kill-all has covered: it is read long after. Ten years, milliseconds. */
const LIFETIME_MS = 10 * 365 * 24 * 3600 * 1000;

const ON_WIRE = { mesh: KillScope.MESH, instance: KillScope.INSTANCE, tenant: KillScope.TENANT } as const;

/** What the reaper knew when it raised a kill epoch. */
export interface KillAllSaid {
  instanceId: string;
  order: Order;
  scope: Scope;
  epoch: bigint;
  /** Every agent of the scope that lived. */
  agents: string[];
  raisedAtMs: number;
  bootId: string;
}

/**
 * The signed envelope, base64. It has the key that signs deaths and a payload of its own kind. Without it whoever carries
 * the answer could leave agents out of it, or name none.
 */
export function signKillAll(key: SigningKey, { instanceId, order, scope, raisedAtMs, ...said }: KillAllSaid): string {
  const statement = create(KillAllStatementSchema, {
    header: makeHeader({
      issuer: instanceId,
      audience: instanceId,
      direction: Direction.LOCAL,
      lifetimeMs: LIFETIME_MS,
    }),
    commandDigest: fromHex(order.digest),
    scope: ON_WIRE[scope.scope],
    scopeId: scope.id,
    raisedAtMs: BigInt(raisedAtMs),
    ...said,
  });
  return toBase64(encodeEnvelope(signPayload(key, 'kill-all', toBinary(KillAllStatementSchema, statement))));
}
