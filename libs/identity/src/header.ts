import {
  create,
  HeaderSchema,
  isId,
  isMessageId,
  LIMITS,
  newId,
  WireFault,
  type Direction,
  type Header,
} from '@capstan/protocol';

export interface HeaderDemand {
  /** The owner of the key that signed; leave out only where the issuer is checked otherwise. */
  issuer?: string;
  /** Who I am. */
  audience: string;
  direction: Direction;
  nowMs: number;
  /** Difference of clocks that is borne; 30 s unless told. */
  skewMs?: number;
  /** `exempt` for kills and for what is verified long after: no look at any clock. */
  expiry?: 'checked' | 'exempt';
}

/**
 * Checks what a verified payload says about itself, in the order audience, direction, issuer, time.
 *
 * @throws {WireFault} `payload-malformed` (no header, or it ends before it begins), `id-malformed`, `wrong-audience`,
 *   `wrong-direction`, `wrong-issuer`, `clock-skew` (issued in the future), `expired`
 */
export function checkHeader(h: Header | undefined, want: HeaderDemand): Header {
  if (h === undefined) throw new WireFault('payload-malformed', 'no header');
  checkIds(h);
  if (h.audience !== want.audience) throw new WireFault('wrong-audience', h.audience);
  if (h.direction !== want.direction) throw new WireFault('wrong-direction', String(h.direction));
  if (want.issuer !== undefined && h.issuer !== want.issuer) throw new WireFault('wrong-issuer', h.issuer);
  if (want.expiry !== 'exempt') checkTime(h, want.nowMs, want.skewMs ?? LIMITS.clockSkewMs);
  return h;
}

function checkIds(h: Header): void {
  if (!isMessageId(h.id)) throw new WireFault('id-malformed', `message ${JSON.stringify(h.id.slice(0, 80))}`);
  const optional = [h.tenant, h.onBehalfOf].filter((id) => id !== '');
  const bad = [h.issuer, h.audience, ...optional].find((id) => !isId(id));
  if (bad !== undefined) throw new WireFault('id-malformed', JSON.stringify(bad.slice(0, 80)));
}

function checkTime(h: Header, nowMs: number, skewMs: number): void {
  if (h.expiresAtMs <= h.issuedAtMs) throw new WireFault('payload-malformed', 'expires before it was issued');
  if (h.issuedAtMs > BigInt(Math.floor(nowMs + skewMs))) {
    throw new WireFault('clock-skew', `issued ${String(h.issuedAtMs - BigInt(Math.floor(nowMs)))} ms in the future`);
  }
  if (h.expiresAtMs <= BigInt(Math.floor(nowMs))) throw new WireFault('expired', `at ${String(h.expiresAtMs)}`);
}

export interface HeaderInit {
  issuer: string;
  audience: string;
  direction: Direction;
  tenant?: string;
  onBehalfOf?: string;
  /** 60 s unless told. */
  lifetimeMs?: number;
  nowMs?: number;
  /** UUIDv7; a new one unless told. */
  id?: string;
  keyEpoch?: number;
  traceparent?: string;
  /** How many hubs may route it; none unless told. */
  hopLimit?: number;
  /** Grants from root to leaf, serialized; none for the issuer's own authority. */
  grantChain?: readonly Uint8Array[];
}

/** The header of a payload that is issued now. @throws {WireFault} `id-malformed` where no receiver would take it */
export function makeHeader(o: HeaderInit): Header {
  const nowMs = Math.floor(o.nowMs ?? Date.now());
  const header = create(HeaderSchema, {
    id: o.id ?? newId(),
    issuer: o.issuer,
    onBehalfOf: o.onBehalfOf ?? '',
    audience: o.audience,
    direction: o.direction,
    tenant: o.tenant ?? '',
    keyEpoch: o.keyEpoch ?? 1,
    issuedAtMs: BigInt(nowMs),
    expiresAtMs: BigInt(nowMs + Math.floor(o.lifetimeMs ?? LIMITS.lifetimeMs)),
    traceparent: o.traceparent ?? '',
    hopLimit: o.hopLimit ?? 0,
    grantChain: [...(o.grantChain ?? [])],
  });
  checkIds(header);
  return header;
}
