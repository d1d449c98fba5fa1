import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { checkWire } from './wire-check.js';
import { WireFault } from './wire-fault.js';

/**
 * The message that `bytes` are, and nothing else: no unknown field or enum value at any depth, no field twice, no
 * field in another's wire type. Byte fields are views of `bytes`.
 *
 * @throws {WireFault} `payload-malformed`, `unknown-field`
 */
export function decodeStrict<S extends DescMessage>(schema: S, bytes: Uint8Array): MessageShape<S> {
  checkWire(schema, bytes);
  try {
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch (error) {
    throw new WireFault('payload-malformed', schema.typeName, { cause: error });
  }
}
