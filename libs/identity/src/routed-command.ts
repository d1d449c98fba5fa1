import {
  CommandSchema,
  decodeStrict,
  Direction,
  WireFault,
  type Admission,
  type Command,
  type CommandBody,
  type Envelope,
  type Header,
} from '@capstan/protocol';
import { verifyAdmission } from './admission.js';
import { envelopeDigest } from './envelope-digest.js';
import { commandGrants, type HeldChain } from './grants/index.js';
import { checkHeader } from './header.js';
import { checkIssuedInTime, checkKeyEpoch } from './issued-in-time.js';
import type { KeyRecord } from './key-record.js';
import { KeyRing } from './key-ring.js';
import { fromPublicKeyRecord } from './public-key-record.js';
import { verifyEnvelope } from './signed-payload.js';

/** What can be ordered through a hub by somebody else. All other commands are the hub's own. */
export const ROUTED_COMMANDS = ['spawn', 'status', 'kill'] as const;
export type RoutedCommand = (typeof ROUTED_COMMANDS)[number];
export type RoutedBody = Extract<CommandBody, { case: RoutedCommand }>;

export function isRoutedBody(body: Command['body']): body is RoutedBody {
  return ROUTED_COMMANDS.some((name) => name === body.case);
}

/** Whom a receiver of routed commands believes. */
export interface RoutedTrust {
  /** The hub's pinned keys. */
  hub: KeyRing;
  /** Operators, as the owner has pinned them. */
  operators: KeyRing;
  /** Other instances, as they were pinned when their first command was allowed. */
  peers: KeyRing;
}

export interface OpenedRouted {
  header: Header;
  body: RoutedBody;
  /** SHA-256 of the command's PAE. */
  digest: Uint8Array;
  /** The origin's key. */
  key: KeyRecord;
  origin: 'operator' | 'peer';
  /** True where the key is not pinned yet: the hub's admission alone vouches for it. Pin it if the command is allowed. */
  isFirstUse: boolean;
  /** The grants under which it is given; absent where it claims none. */
  grants?: HeldChain;
  admission: Admission;
}

/**
 * Verifies a command of an operator or of another instance together with the hub's admission; no clock is asked.
 *
 * An operator's key must be pinned by the owner. Another instance's key is the one that is pinned for it; where none is,
 * the one that the admission vouches for. Nothing that a message says can put an operator's key in place.
 *
 * @throws {WireFault} as `verifyAdmission`, `verifyEnvelope`, `decodeStrict` and `checkHeader`; `key-revoked` for an older
 *   epoch of a key, `wrong-direction` for a command that is not routed or a key of another kind of origin, `wrong-tenant`,
 *   `hop-limit`, `route-cycle`; as `commandGrants`
 */
export function openRouted(
  routed: { envelope: Envelope; admission: Envelope | undefined },
  trust: RoutedTrust,
  audience: string,
): OpenedRouted {
  const { envelope } = routed;
  const digest = envelopeDigest(envelope);
  const want = { keys: trust.hub, audience, digest, nowMs: 0, expiry: 'exempt' } as const;
  const admission = verifyAdmission(routed.admission, want);
  const known = believed(envelope, admission, trust);
  const { key } = verifyEnvelope(envelope, { kind: 'command', purpose: 'command', keys: known.keys });
  const { header: claimed, body } = decodeStrict(CommandSchema, envelope.payload);
  const { origin, isFirstUse } = grantedOr(known, claimed);
  const direction = origin === 'operator' ? Direction.OPERATOR_TO_SPOKE : Direction.SPOKE_TO_SPOKE;
  if (isFirstUse && claimed?.direction === Direction.OPERATOR_TO_SPOKE) {
    throw new WireFault('key-unknown', `operator ${key.owner} is not pinned here`);
  }
  const header = checkHeader(claimed, { issuer: key.owner, audience, direction, nowMs: 0, expiry: 'exempt' });
  checkIssuedInTime(key, header);
  checkKeyEpoch(key, header);
  checkAdmitted(header, key, admission);
  if (!isRoutedBody(body)) throw new WireFault('wrong-direction', `${body.case ?? 'nothing'} is not routed`);
  const grants = commandGrants({ header, body, key }, trust.operators);
  return { header, body, digest, key, origin, isFirstUse, admission, ...(grants === undefined ? {} : { grants }) };
}

/** Somebody to whom a pinned operator has granted it needs no pin of his own: the chain, which is checked, names his key. */
function grantedOr(known: Believed, claimed: Header | undefined): Omit<Believed, 'keys'> {
  const isGranted = claimed?.direction === Direction.OPERATOR_TO_SPOKE && claimed.grantChain.length > 0;
  return known.isFirstUse && isGranted ? { origin: 'operator', isFirstUse: false } : known;
}

interface Believed {
  keys: KeyRing;
  origin: OpenedRouted['origin'];
  isFirstUse: boolean;
}

function believed(envelope: Envelope, { originKey }: Admission, { operators, peers }: RoutedTrust): Believed {
  const isOperator = envelope.signatures.some(({ keyId }) => operators.get(keyId) !== undefined);
  if (isOperator) return { keys: operators, origin: 'operator', isFirstUse: false };
  if (originKey === undefined) throw new WireFault('admission-invalid', 'no key of the origin');
  const pinned = peers.ofOwner(originKey.owner, ['command']);
  if (pinned !== undefined) return { keys: pinned, origin: 'peer', isFirstUse: false };
  const vouched = new KeyRing([fromPublicKeyRecord(originKey, ['command', 'receipt'])]);
  return { keys: vouched, origin: 'peer', isFirstUse: true };
}

/** What the hub has written about the command must be what the command says. */
function checkAdmitted(header: Header, key: KeyRecord, admission: Admission): void {
  const { originKey, route, hopLimit, tenant } = admission;
  if (originKey?.keyId !== key.keyId)
    throw new WireFault('admission-invalid', 'the hub knows another key of the origin');
  if (route[0] !== header.issuer) throw new WireFault('admission-invalid', `route of ${route[0] ?? 'nobody'}`);
  if (tenant !== header.tenant) throw new WireFault('wrong-tenant', tenant);
  // Hubs that it has passed, and those that it may still pass, together at most what the origin allows.
  if (route.length - 1 + hopLimit > header.hopLimit) throw new WireFault('hop-limit', route.join(' '));
}
