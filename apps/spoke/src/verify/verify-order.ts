import {
  checkHeader,
  checkIssuedInTime,
  checkKeyEpoch,
  type HeldChain,
  type KeyRecord,
  type KeyRing,
  verifyEnvelope,
} from '@capstan/identity';
import {
  agentId,
  agentOf,
  type CommandBody,
  CommandSchema,
  decodeStrict,
  Direction,
  encodeEnvelope,
  type Envelope,
  type Header,
  isId,
  KillScope,
  LIMITS,
  type QueryBody,
  QuerySchema,
  taskId,
  WireFault,
} from '@capstan/protocol';

/** Who receives, whom it believes, and what time it is. */
export interface Receiver {
  instanceId: string;
  keys: KeyRing;
  nowMs: number;
}

/** What a receipt needs to know of what it answers. */
export interface OrderRef {
  issuer: string;
  id: string;
  /** SHA-256 of the PAE. */
  digest: Uint8Array;
  tenant: string;
  traceparent: string;
  /** Empty where the order names none. */
  agentId: string;
}

export interface VerifiedOrder<B> extends OrderRef {
  envelope: Envelope;
  /** The envelope as it is stored and passed on. */
  bytes: Uint8Array;
  header: Header;
  key: KeyRecord;
  body: B;
  /** The grants under which it is given; absent where it claims none. */
  grants?: HeldChain;
  /** Set where everything else holds but the clock says no: only a duplicate is still answered. */
  late: WireFault | undefined;
  /** Set where somebody else than the hub has signed it. */
  routed?: RoutedBy;
}

/** How a command of somebody else came. */
export interface RoutedBy {
  origin: 'operator' | 'peer';
  /** The hub's admission as it is stored and passed on. */
  admission: Uint8Array;
  /** The origin's key is not pinned yet. */
  isFirstUse: boolean;
}

export type VerifiedCommand = VerifiedOrder<CommandBody>;
export type VerifiedQuery = VerifiedOrder<QueryBody>;

/**
 * The checks of a receiver that need no memory, in their order: size, envelope, signature by a pinned and unrevoked key
 * made for commands, strict decode of exactly the signed bytes, audience, direction, issuer, key epoch, time.
 * A kill is exempt from the clock and from nothing else.
 *
 * @throws WireFault as `verifyEnvelope`, `decodeStrict` and `checkHeader`, and key-revoked for an older epoch of a key
 */
export function verifyCommand(envelope: Envelope, receiver: Receiver): VerifiedCommand {
  const bytes = sized(envelope);
  const { key, digest } = verifyEnvelope(envelope, { kind: 'command', purpose: 'command', keys: receiver.keys });
  const { header, body } = decodeStrict(CommandSchema, envelope.payload);
  if (body.case === undefined) throw new WireFault('payload-malformed', 'a command without a body');
  checkCommand(body);
  // A probe goes the way of kills in this too: a clock that is wrong must not hide that a kill would arrive.
  const isKill = body.case === 'kill' || body.case === 'killAll' || body.case === 'probe';
  const checked = checkOrder(header, key, receiver);
  const late = isKill ? undefined : lateness(checked, receiver);
  return { ...refOf(checked, digest, agentOf(body)), envelope, bytes, header: checked, key, body, late };
}

/** The same for a query; a late one is refused at once, since nothing of it is kept. */
export function verifyQuery(envelope: Envelope, receiver: Receiver): VerifiedQuery {
  const bytes = sized(envelope);
  const { key, digest } = verifyEnvelope(envelope, { kind: 'query', purpose: 'command', keys: receiver.keys });
  const { header, body } = decodeStrict(QuerySchema, envelope.payload);
  if (body.case === undefined) throw new WireFault('payload-malformed', 'a query without a body');
  if ('agentId' in body.value) agentId(body.value.agentId);
  if (body.case === 'watch' && !isId(body.value.watchId)) throw new WireFault('id-malformed', 'watch id');
  const checked = checkOrder(header, key, receiver);
  const late = lateness(checked, receiver);
  if (late !== undefined) throw late;
  return { ...refOf(checked, digest, agentOf(body)), envelope, bytes, header: checked, key, body, late };
}

/** The bytes of an envelope. @throws WireFault `envelope-too-large`, `envelope-malformed` */
export function sized(envelope: Envelope): Uint8Array {
  if (envelope.signatures.length > LIMITS.signatures) throw new WireFault('envelope-malformed', 'too many signatures');
  return encodeEnvelope(envelope);
}

function checkOrder(header: Header | undefined, key: KeyRecord, receiver: Receiver): Header {
  const checked = checkHeader(header, {
    issuer: key.owner,
    audience: receiver.instanceId,
    direction: Direction.HUB_TO_SPOKE,
    nowMs: receiver.nowMs,
    expiry: 'exempt',
  });
  checkIssuedInTime(key, checked);
  checkKeyEpoch(key, checked);
  return checked;
}

/** Why the clock refuses a payload, if it does. @throws WireFault `payload-malformed` */
export function lateness(header: Header, receiver: { nowMs: number }): WireFault | undefined {
  const { audience, direction } = header;
  try {
    checkHeader(header, { audience, direction, nowMs: receiver.nowMs });
    return undefined;
  } catch (error) {
    if (error instanceof WireFault && error.code !== 'payload-malformed') return error;
    throw error;
  }
}

/** Refuses a body that no handler should see. @throws WireFault `payload-malformed`, `id-malformed` */
export function checkCommand(body: CommandBody): void {
  switch (body.case) {
    case 'spawn':
      agentId(body.value.agentId);
      taskId(body.value.taskId);
      if (body.value.context === undefined) throw new WireFault('payload-malformed', 'a spawn without a context');
      return;
    case 'status':
    case 'kill':
      agentId(body.value.agentId);
      return;
    case 'killAll':
      if (body.value.scope === KillScope.UNSPECIFIED)
        throw new WireFault('payload-malformed', 'a kill-all without scope');
      return;
    case 'rearm':
      if (body.value.scope === KillScope.UNSPECIFIED)
        throw new WireFault('payload-malformed', 'a re-arming without scope');
      return;
    case 'probe':
      if (body.value.nonce.length !== 32) throw new WireFault('payload-malformed', 'a nonce has 32 bytes');
  }
}

/** What a receipt needs to know of a payload with this header. */
export function refOf(header: Header, digest: Uint8Array, agent: string): OrderRef {
  const { issuer, id, tenant, traceparent } = header;
  return { issuer, id, digest, tenant, traceparent, agentId: agent };
}
