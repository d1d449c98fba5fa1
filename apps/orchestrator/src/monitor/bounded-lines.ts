import { StringDecoder } from 'node:string_decoder';

/** A line longer than this is cut; what was cut off is not kept. */
const LONGEST_LINE = 64 * 1024;

/** The lines of a stream that nobody can be trusted to end: memory stays within one line. */
export async function* boundedLines(stream: AsyncIterable<Buffer | string>): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  let cut = false;
  for await (const chunk of stream) {
    const pieces = (rest + (typeof chunk === 'string' ? chunk : decoder.write(chunk))).split('\n');
    rest = pieces.pop() ?? '';
    for (const piece of pieces) {
      if (!cut) yield piece.slice(0, LONGEST_LINE);
      cut = false;
    }
    if (rest.length > LONGEST_LINE) {
      if (!cut) yield rest.slice(0, LONGEST_LINE);
      cut = true;
      rest = '';
    }
  }
  if (rest !== '' && !cut) yield rest;
}
