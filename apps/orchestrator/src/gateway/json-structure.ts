const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const IS_STRUCTURE = new Uint8Array(256);
for (const mark of '{}[]:,') IS_STRUCTURE[mark.charCodeAt(0)] = 1;

/**
 * Counts brackets, colons and commas outside of strings in JSON that comes in pieces: a bound of the values in it, and so of
 * the time and memory that parsing takes, known before it is parsed.
 */
export class JsonStructure {
  private isInString = false;
  private isEscaped = false;

  /** @returns how many there are in this piece. */
  push(bytes: Uint8Array): number {
    let found = 0;
    let { isInString, isEscaped } = this;
    for (const byte of bytes) {
      if (!isInString) {
        found += IS_STRUCTURE[byte] ?? 0;
        isInString = byte === QUOTE;
      } else if (isEscaped) isEscaped = false;
      else if (byte === BACKSLASH) isEscaped = true;
      else isInString = byte !== QUOTE;
    }
    this.isInString = isInString;
    this.isEscaped = isEscaped;
    return found;
  }
}
