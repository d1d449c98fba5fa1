const WINDOW = 4 * 1024 * 1024;
/** Longer than any secret that is looked for. */
const OVERLAP = 64 * 1024;

/** A large content in pieces that overlap; `lines` is the number of line ends before each. */
export function* windowsOf(content: Buffer): Generator<{ bytes: Buffer; lines: number }> {
  let lines = 0;
  for (let from = 0; ; from += WINDOW) {
    yield { bytes: content.subarray(from, from + WINDOW + OVERLAP), lines };
    if (from + WINDOW + OVERLAP >= content.length) return;
    const end = from + WINDOW;
    for (let at = content.indexOf(10, from); at >= 0 && at < end; at = content.indexOf(10, at + 1)) lines += 1;
  }
}
