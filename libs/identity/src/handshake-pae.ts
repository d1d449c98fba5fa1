/** Each label is one meaning of a signature; none is ever reused for another. */
export type HandshakeLabel =
  'capstan.v1.hub-hello' | 'capstan.v1.spoke-proof' | 'capstan.v1.reaper-endorse' | 'capstan.v1.operator-key';

/**
 * The bytes that are signed where no envelope is: `label 00 (u32 length, bytes)…`, lengths big-endian.
 *
 * Two lists of parts never give the same bytes, and no label begins like a DSSE PAE (`DSSEv1 `), so that a signature
 * made in a handshake can never stand under a payload.
 */
export function handshakePae(label: HandshakeLabel, ...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const head = new TextEncoder().encode(`${label}\0`);
  const out = new Uint8Array(parts.reduce((size, part) => size + 4 + part.length, head.length));
  const view = new DataView(out.buffer);
  out.set(head);
  let at = head.length;
  for (const part of parts) {
    view.setUint32(at, part.length);
    out.set(part, at + 4);
    at += 4 + part.length;
  }
  return out;
}
