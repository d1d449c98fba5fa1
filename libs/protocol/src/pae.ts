const encoder = new TextEncoder();

/**
 * DSSE v1 pre-authentication encoding: the exact bytes that are signed and whose SHA-256 is an envelope's digest.
 *
 * `"DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload`, with LEN the decimal number of bytes.
 * Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
 */
export function pae(payloadType: string, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const type = encoder.encode(payloadType);
  const head = encoder.encode(`DSSEv1 ${String(type.length)} ${payloadType} ${String(payload.length)} `);
  const out = new Uint8Array(head.length + payload.length);
  out.set(head);
  out.set(payload, head.length);
  return out;
}
