/** Characters of a piece: short enough that a secret cut in two still shows, too long to be found by chance. */
const PIECE = 12;
const STEP = 4;

/**
 * Everything that shows a secret, whole or cut into halves, as it is or encoded: each is looked for in what has left a
 * sandbox.
 *
 * @param prefix a beginning that is no secret (that of every key of its kind).
 */
export function tracesOf(secret: string, prefix = ''): string[] {
  const own = secret.slice(prefix.length);
  const pieces: string[] = [];
  for (let at = 0; at + PIECE <= own.length; at += STEP) pieces.push(own.slice(at, at + PIECE));
  const traces = pieces.flatMap((piece) => {
    const reversed = Array.from(piece).reverse().join('');
    return [piece, reversed].flatMap((text) => [
      text,
      hexOf(text),
      hexOf(text).toUpperCase(),
      Array.from(text)
        .map((it) => `%${hexOf(it)}`)
        .join(''),
      Array.from(text)
        .map((it) => `%${hexOf(it).toUpperCase()}`)
        .join(''),
      Array.from(text)
        .map((it) => `\\x${hexOf(it)}`)
        .join(''),
      ...base64Of(text),
    ]);
  });
  return [...new Set(traces)];
}

/** The traces that are in a text. */
export function foundIn(text: string, traces: readonly string[]): string[] {
  return traces.filter((trace) => text.includes(trace));
}

function hexOf(text: string): string {
  return Buffer.from(text, 'latin1').toString('hex');
}

/** Base64 shows the same bytes in three ways, by where they begin; the ends depend on what is beside them. */
function base64Of(text: string): string[] {
  return [0, 1, 2].flatMap((before) => {
    const encoded = Buffer.from(' '.repeat(before) + text, 'latin1')
      .toString('base64')
      .replace(/=+$/, '');
    const inner = encoded.slice(before === 0 ? 0 : before + 1, -1);
    return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
  });
}
