import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { decodeEnvelope, encodeEnvelope } from './envelope.js';
import { EnvelopeSchema, type Envelope } from './gen/capstan/v1/envelope_pb.js';
import { LIMITS } from './limits.js';
import { PAYLOAD_TYPES } from './payload-types.js';
import { WireFault } from './wire-fault.js';

const envelope = (payload = Uint8Array.of(1, 2, 3), signatures = 1): Envelope =>
  create(EnvelopeSchema, {
    payloadType: PAYLOAD_TYPES.command,
    payload,
    signatures: Array.from({ length: signatures }, () => ({ keyId: `k-${'0'.repeat(32)}`, sig: new Uint8Array(64) })),
  });
const fault = (code: string): unknown => expect.objectContaining({ name: 'WireFault', code });

describe('decodeEnvelope', () => {
  it('reads what encodeEnvelope wrote', () => {
    expect(decodeEnvelope(encodeEnvelope(envelope()))).toEqual(envelope());
  });

  it('reads an envelope of exactly 1 MiB and refuses one byte more', () => {
    const frame = toBinary(EnvelopeSchema, envelope(new Uint8Array(LIMITS.envelopeBytes - 1000))).length;
    const largest = envelope(new Uint8Array(LIMITS.envelopeBytes - 1000 + LIMITS.envelopeBytes - frame));
    expect(encodeEnvelope(largest)).toHaveLength(LIMITS.envelopeBytes);
    expect(decodeEnvelope(encodeEnvelope(largest)).payload).toHaveLength(largest.payload.length);

    const larger = envelope(new Uint8Array(largest.payload.length + 1));
    expect(() => encodeEnvelope(larger)).toThrow(fault('envelope-too-large') as Error);
    expect(() => decodeEnvelope(toBinary(EnvelopeSchema, larger))).toThrow(fault('envelope-too-large') as Error);
  });

  it('refuses an envelope that is cut off anywhere inside a field', () => {
    const whole = encodeEnvelope(envelope());
    const starts = fieldStarts(whole);
    for (let size = 0; size < whole.length; size++) {
      if (starts.has(size)) continue;
      expect(() => decodeEnvelope(whole.subarray(0, size))).toThrow(fault('envelope-malformed') as Error);
    }
  });

  it('refuses an envelope without a payload type', () => {
    expect(() => decodeEnvelope(new Uint8Array())).toThrow(fault('envelope-malformed') as Error);
  });

  it('refuses a field that no signature would cover', () => {
    const extra = Uint8Array.of(...encodeEnvelope(envelope()), (9 << 3) | 2, 1, 65);
    expect(() => decodeEnvelope(extra)).toThrow(fault('envelope-malformed') as Error);
  });

  it('refuses a second payload', () => {
    const twice = Uint8Array.of(...encodeEnvelope(envelope()), (2 << 3) | 2, 1, 65);
    expect(() => decodeEnvelope(twice)).toThrow(fault('envelope-malformed') as Error);
  });

  it('refuses more signatures than a receiver is willing to verify', () => {
    const most = encodeEnvelope(envelope(undefined, LIMITS.signatures));
    expect(decodeEnvelope(most).signatures).toHaveLength(LIMITS.signatures);
    const more = encodeEnvelope(envelope(undefined, LIMITS.signatures + 1));
    expect(() => decodeEnvelope(more)).toThrow(fault('envelope-malformed') as Error);
  });

  it('never throws anything but a WireFault, whatever the bytes', () => {
    const valid = encodeEnvelope(envelope());
    const mutated = fc.tuple(fc.nat(valid.length - 1), fc.nat(255), fc.nat(valid.length)).map(([at, byte, end]) =>
      Uint8Array.from(valid)
        .fill(byte, at, at + 1)
        .subarray(0, end),
    );
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), (bytes) => {
        try {
          decodeEnvelope(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(WireFault);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

/** Offsets at which one of our small test envelope's fields begins: a cut there leaves a shorter whole envelope. */
function fieldStarts(bytes: Uint8Array): Set<number> {
  const starts = new Set<number>();
  for (let at = 0; at < bytes.length; at += 2 + (bytes[at + 1] ?? 0)) starts.add(at);
  starts.delete(0);
  return starts;
}
