import { decodeStrict, type DescMessage, type Envelope, type Header, type MessageShape } from '@capstan/protocol';
import { checkHeader, type HeaderDemand } from './header.js';
import { checkIssuedInTime } from './issued-in-time.js';
import { verifyEnvelope, type Demand, type Verified } from './signed-payload.js';

/** A payload whose signature, shape and header hold. */
export interface Opened<S extends DescMessage> extends Verified {
  payload: MessageShape<S>;
  header: Header;
}

/**
 * The stateless checks of a receiver in their order: signature, then strict decode of exactly the signed bytes, then
 * header, with the key's owner as the only issuer that is accepted. Ledger and policy follow at the caller.
 *
 * @throws {WireFault} as `verifyEnvelope`, `decodeStrict` and `checkHeader`
 */
export function openEnvelope<S extends DescMessage>(
  e: Envelope,
  schema: S,
  want: Demand & Omit<HeaderDemand, 'issuer'>,
): Opened<S> {
  const verified = verifyEnvelope(e, want);
  const payload = decodeStrict(schema, e.payload);
  const header = checkHeader((payload as { header?: Header }).header, { ...want, issuer: verified.key.owner });
  checkIssuedInTime(verified.key, header);
  return { ...verified, payload, header };
}
