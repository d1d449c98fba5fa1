import { lineAt, lineStarts } from './lines.js';

/** Text that stands encoded in another, and the line of that where it begins. */
export interface DerivedText {
  line: number;
  text: string;
}

const BASE64 = /[A-Za-z0-9+/_-]{24,}={0,2}/g;
const HEX = /(?:[0-9a-fA-F]{2}){16,}/g;
const PERCENT = /[\w.~+%!*()'-]*%[0-9a-fA-F]{2}[\w.~+%!*()'-]*/g;
/** A base64 or hex text that is broken into lines or pieces of a string. */
const PIECES = /(?:[A-Za-z0-9+/_=-]{16,}["'`,+\\\s]{1,20}){2,}[A-Za-z0-9+/_=-]{4,}/g;
const MOST_DERIVED = 4 * 1024 * 1024;

/** What is found in `text` by decoding base64, hex and percent signs, once. Bounded: a text that says more is cut. */
export function derivedTexts(text: string): DerivedText[] {
  const starts = lineStarts(text);
  const found: DerivedText[] = [];
  let room = MOST_DERIVED;
  const take = (at: number, decoded: string): void => {
    if (decoded.length < 8 || decoded.length > room || !isReadable(decoded)) return;
    room -= decoded.length;
    found.push({ line: lineAt(starts, at), text: decoded });
  };
  for (const match of text.matchAll(BASE64)) for (const decoded of fromBase64(match[0])) take(match.index, decoded);
  for (const match of text.matchAll(HEX)) take(match.index, Buffer.from(match[0], 'hex').toString('latin1'));
  for (const match of text.matchAll(PERCENT)) take(match.index, fromPercent(match[0]));
  for (const match of text.matchAll(PIECES)) {
    const joined = match[0].replace(/[^A-Za-z0-9+/_-]/g, '');
    take(match.index, joined);
    for (const decoded of fromBase64(joined)) take(match.index, decoded);
  }
  return found;
}

/** A path or a word may stand before it without a gap: each of the four alignments is tried. */
function fromBase64(text: string): string[] {
  return [0, 1, 2, 3].map((skip) => Buffer.from(text.slice(skip), 'base64').toString('latin1'));
}

function fromPercent(text: string): string {
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}

/** Whether it is text at all, rather than what decoding makes of anything. */
function isReadable(text: string): boolean {
  let readable = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if ((code >= 0x20 && code < 0x7f) || code === 9 || code === 10 || code === 13) readable += 1;
  }
  return readable >= text.length * 0.85;
}
