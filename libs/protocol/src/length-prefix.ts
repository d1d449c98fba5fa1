import { LIMITS } from './limits.js';
import { WireFault } from './wire-fault.js';

const PREFIX_BYTES = 4;

/** A message preceded by its length as a big-endian uint32: the framing of the reaper's socket. */
export function lengthPrefixed(message: Uint8Array): Uint8Array {
  if (message.length > LIMITS.reaperMessageBytes) throw new WireFault('frame-too-large');
  const framed = new Uint8Array(PREFIX_BYTES + message.length);
  new DataView(framed.buffer).setUint32(0, message.length);
  framed.set(message, PREFIX_BYTES);
  return framed;
}

/** Takes a stream's chunks, however they are cut, and gives whole messages. */
export class LengthPrefixReader {
  private pending = new Uint8Array(0);

  /** Messages that are complete with this chunk. Throws WireFault `frame-too-large`; the stream is lost then. */
  push(chunk: Uint8Array): Uint8Array[] {
    const bytes = new Uint8Array(this.pending.length + chunk.length);
    bytes.set(this.pending);
    bytes.set(chunk, this.pending.length);
    const messages: Uint8Array[] = [];
    let at = 0;
    while (bytes.length - at >= PREFIX_BYTES) {
      const length = new DataView(bytes.buffer).getUint32(at);
      if (length > LIMITS.reaperMessageBytes) throw new WireFault('frame-too-large');
      if (bytes.length - at - PREFIX_BYTES < length) break;
      messages.push(bytes.slice(at + PREFIX_BYTES, at + PREFIX_BYTES + length));
      at += PREFIX_BYTES + length;
    }
    this.pending = bytes.slice(at);
    return messages;
  }
}
