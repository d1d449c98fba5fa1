import {
  checkHeader,
  checkKeyEpoch,
  isRoutedBody,
  type KeyRecord,
  type KeyRing,
  type RoutedBody,
  verifyEnvelope,
} from '@capstan/identity';
import {
  agentId,
  CommandSchema,
  decodeStrict,
  type Direction,
  type Envelope,
  type Header,
  taskId,
  WireFault,
} from '@capstan/protocol';

/** A command that somebody else has signed, of which everything holds that needs neither memory nor clock. */
export interface ForeignCommand {
  envelope: Envelope;
  header: Header;
  body: RoutedBody;
  /** SHA-256 of the PAE. */
  digest: Uint8Array;
  /** The origin's key. */
  key: KeyRecord;
}

/**
 * The first checks of a router: signature by one of the origin's own keys, strict decode, issuer, direction, key epoch,
 * and that it is a command that is routed at all.
 *
 * @throws WireFault as `verifyEnvelope`, `decodeStrict` and `checkHeader`; `key-revoked` for an older epoch, `wrong-direction`
 */
export function verifyForeign(envelope: Envelope, keys: KeyRing, direction: Direction): ForeignCommand {
  const { key, digest } = verifyEnvelope(envelope, { kind: 'command', purpose: 'command', keys });
  const { header: claimed, body } = decodeStrict(CommandSchema, envelope.payload);
  const header = checkHeader(claimed, {
    issuer: key.owner,
    // Whoever it is for is looked up next.
    audience: claimed?.audience ?? '',
    direction,
    nowMs: 0,
    expiry: 'exempt',
  });
  checkKeyEpoch(key, header);
  if (!isRoutedBody(body)) throw new WireFault('wrong-direction', `${body.case ?? 'nothing'} is not routed`);
  agentId(body.value.agentId);
  if (body.case === 'spawn') {
    taskId(body.value.taskId);
    if (body.value.context === undefined) throw new WireFault('payload-malformed', 'a spawn without a context');
  }
  return { envelope, header, body, digest, key };
}
