import { lineAt, lineStarts } from './lines.js';

/** Text that stands encoded in another, and the line of that where it begins. */
export interface DerivedText {
  line: number;
  text: string;
}

// Each finds its end in one go: nothing here may go back over what it has read (a file can be made for that).
const BASE64 = /[A-Za-z0-9+/_-]{24,}/g;
const HEX = /(?:[0-9a-fA-F]{2}){16,}/g;
const PERCENT = /%[0-9a-fA-F]{2}/g;
/** Between two pieces of a string. */
const JOINT = /["'`]\s{0,20}\+\s{0,20}["'`]/g;
/** What stands around the pieces of a text that is broken into lines. */
const EDGES = /[\s"'`,\\]|\+(?=\s*$)/g;
const PIECE = /^[A-Za-z0-9+/_=-]{4,}$/;
const SHORTEST_LINE = 16;
const MOST_DERIVED = 4 * 1024 * 1024;
/** Characters around a percent sign or a joint that are looked at. */
const REACH = 600;

/** What is found in `text` by decoding base64, hex and percent signs, once. Bounded: a text that says more is cut. */
export function derivedTexts(text: string): DerivedText[] {
  const starts = lineStarts(text);
  const found: DerivedText[] = [];
  let room = MOST_DERIVED;
  const take = (line: number, decoded: string): void => {
    if (decoded.length < 8 || decoded.length > room || !isReadable(decoded)) return;
    room -= decoded.length;
    found.push({ line, text: decoded });
  };
  for (const match of text.matchAll(BASE64))
    for (const decoded of fromBase64(match[0])) take(lineAt(starts, match.index), decoded);
  for (const match of text.matchAll(HEX))
    take(lineAt(starts, match.index), Buffer.from(match[0], 'hex').toString('latin1'));
  for (const { at, part } of around(text, PERCENT)) take(lineAt(starts, at), fromPercent(part));
  for (const { at, part } of around(text, JOINT)) take(lineAt(starts, at), part.replace(JOINT, ''));
  for (const { line, joined } of brokenTexts(text)) {
    take(line, joined);
    for (const decoded of fromBase64(joined)) take(line, decoded);
  }
  return found;
}

/** Pieces of the text in which a pattern stands, none of them twice. */
function* around(text: string, pattern: RegExp): Generator<{ at: number; part: string }> {
  let [from, to] = [-1, -1];
  for (const { index } of text.matchAll(pattern)) {
    if (from >= 0 && index > to) {
      yield { at: from, part: text.slice(from, to) };
      from = -1;
    }
    if (from < 0) from = Math.max(0, to, text.lastIndexOf('\n', index) + 1, index - REACH);
    to = Math.min(text.length, index + REACH);
  }
  if (from >= 0) yield { at: from, part: text.slice(from, to) };
}

/** Lines one after the other that are nothing but a piece of one text each. */
function* brokenTexts(text: string): Generator<{ line: number; joined: string }> {
  let [line, pieces]: [number, string[]] = [0, []];
  for (const [index, content] of text.split('\n').entries()) {
    const piece = content.length > REACH ? '' : content.replace(EDGES, '');
    if (PIECE.test(piece) && (piece.length >= SHORTEST_LINE || pieces.length > 0)) {
      if (pieces.length === 0) line = index + 1;
      pieces.push(piece);
      continue;
    }
    if (pieces.length > 1) yield { line, joined: pieces.join('') };
    pieces = [];
  }
  if (pieces.length > 1) yield { line, joined: pieces.join('') };
}

/** A path or a word may stand before it without a gap: each of the four alignments is tried. */
function fromBase64(text: string): string[] {
  return [0, 1, 2, 3].map((skip) => Buffer.from(text.slice(skip), 'base64').toString('latin1'));
}

function fromPercent(text: string): string {
  return text.replace(PERCENT, (code) => String.fromCharCode(Number.parseInt(code.slice(1), 16)));
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
