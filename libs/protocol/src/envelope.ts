import { EnvelopeSchema, type Envelope } from './gen/capstan/v1/envelope_pb.js';
import { LIMITS } from './limits.js';
import { decodeStrict } from './strict-decode.js';
import { toBinary } from './to-binary.js';
import { WireFault } from './wire-fault.js';

/** The bytes of an envelope as they travel. @throws {WireFault} `envelope-too-large` */
export function encodeEnvelope(e: Envelope): Uint8Array {
  const bytes = toBinary(EnvelopeSchema, e);
  if (bytes.length > LIMITS.envelopeBytes) throw new WireFault('envelope-too-large', `${String(bytes.length)} bytes`);
  return bytes;
}

/**
 * An envelope from a stranger's bytes; nothing in it is trusted yet. `payload` is a view of `bytes`.
 *
 * Unknown fields are refused here too: no signature covers them.
 *
 * @throws {WireFault} `envelope-too-large`, `envelope-malformed`
 */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  if (bytes.length > LIMITS.envelopeBytes) throw new WireFault('envelope-too-large', `${String(bytes.length)} bytes`);
  const envelope = read(bytes);
  if (envelope.payloadType === '') throw new WireFault('envelope-malformed', 'no payload type');
  if (envelope.signatures.length > LIMITS.signatures) {
    throw new WireFault('envelope-malformed', `${String(envelope.signatures.length)} signatures`);
  }
  return envelope;
}

function read(bytes: Uint8Array): Envelope {
  try {
    return decodeStrict(EnvelopeSchema, bytes);
  } catch (error) {
    throw new WireFault('envelope-malformed', error instanceof WireFault ? error.detail : undefined, { cause: error });
  }
}
