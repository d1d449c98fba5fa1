import { openRouted, type RoutedTrust } from '@capstan/identity';
import { agentOf, encodeEnvelope, type Envelope, WireFault } from '@capstan/protocol';
import { checkCommand, lateness, type Receiver, refOf, sized, type VerifiedCommand } from './verify-order.js';

export interface RoutedReceiver extends Omit<Receiver, 'keys'> {
  trust: RoutedTrust;
}

/**
 * The same for a command that an operator or another instance has signed, and the hub has admitted: both signatures, and
 * that they are about the same. A kill is exempt from both clocks.
 *
 * @returns the command, and the revocation epoch under which the hub has admitted it
 * @throws WireFault as `openRouted`, and `envelope-malformed` where there is no command
 */
export function verifyRouted(
  routed: { envelope?: Envelope | undefined; admission?: Envelope | undefined },
  receiver: RoutedReceiver,
): { order: VerifiedCommand; revocationEpoch: bigint } {
  const { envelope, admission } = routed;
  if (envelope === undefined) throw new WireFault('envelope-malformed', 'nothing was routed');
  const bytes = sized(envelope);
  const opened = openRouted({ envelope, admission }, receiver.trust, receiver.instanceId);
  const { header, body, digest, key, origin, isFirstUse } = opened;
  checkCommand(body);
  const isLate = body.case !== 'kill';
  const late = isLate
    ? (lateness(header, receiver) ?? admissionLateness(opened.admission.header, receiver))
    : undefined;
  const order: VerifiedCommand = {
    ...refOf(header, digest, agentOf(body)),
    envelope,
    bytes,
    header,
    key,
    body,
    late,
    routed: {
      origin,
      // Without one, openRouted has thrown.
      admission: admission === undefined ? new Uint8Array() : encodeEnvelope(admission),
      isFirstUse,
    },
  };
  return { order, revocationEpoch: opened.admission.revocationEpoch };
}

/** An admission that has run out was held back; the hub makes a new one for each further offer. */
function admissionLateness(
  header: Parameters<typeof lateness>[0] | undefined,
  receiver: RoutedReceiver,
): WireFault | undefined {
  if (header === undefined) return new WireFault('admission-invalid', 'no header');
  const late = lateness(header, receiver);
  return late === undefined || late.retryable ? late : new WireFault('admission-invalid', late.code);
}
