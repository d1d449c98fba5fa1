const IN_ITS_PLACE = Buffer.from('[hidden]');
/** What is shorter is a placeholder for an upstream that wants no key, and may be part of any word. */
const SHORTEST_KEY = 16;

/**
 * A reply without the key, wherever it is cut into pieces. Held back is only what may be the key's beginning.
 *
 * @param key in ASCII, with no character that JSON would escape
 */
export async function* withoutKey(body: AsyncIterable<Uint8Array>, key: string): AsyncGenerator<Uint8Array> {
  if (key.length < SHORTEST_KEY) {
    yield* body;
    return;
  }
  const wanted = Buffer.from(key, 'utf8');
  let held: Uint8Array = Buffer.alloc(0);
  for await (const chunk of body) {
    const bytes =
      held.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length) : Buffer.concat([held, chunk]);
    const { clean, rest } = cut(bytes, wanted);
    held = rest;
    if (clean.length > 0) yield clean;
  }
  if (held.length > 0) yield held;
}

function cut(bytes: Buffer, key: Buffer): { clean: Buffer; rest: Buffer } {
  const parts: Buffer[] = [];
  let from = 0;
  for (let at = bytes.indexOf(key); at >= 0; at = bytes.indexOf(key, from)) {
    parts.push(bytes.subarray(from, at), IN_ITS_PLACE);
    from = at + key.length;
  }
  const end = bytes.length - beginningAtEnd(bytes.subarray(from), key);
  parts.push(bytes.subarray(from, end));
  return { clean: parts.length === 1 ? bytes.subarray(from, end) : Buffer.concat(parts), rest: bytes.subarray(end) };
}

/** How many bytes at the end are the key's first. */
function beginningAtEnd(bytes: Buffer, key: Buffer): number {
  for (let length = Math.min(bytes.length, key.length - 1); length > 0; length -= 1)
    if (bytes.subarray(bytes.length - length).equals(key.subarray(0, length))) return length;
  return 0;
}
