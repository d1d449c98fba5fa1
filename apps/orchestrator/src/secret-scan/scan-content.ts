import { createHmac } from 'node:crypto';
import { lintSource } from '@secretlint/core';
import { rules as presetRules } from '@secretlint/secretlint-rule-preset-recommend';
import { derivedTexts } from './derived-texts.js';
import { findFingerprints, type Fingerprint } from './fingerprints.js';
import { lineAt, lineStarts } from './lines.js';
import { ISSUED_RULE } from './finding.js';
import { OWN_RULES } from './rules.js';

/** One place; `mark` is the same for the same secret, and tells nothing of it. */
export interface Place {
  line: number;
  rule: string;
  mark: string;
}

export interface ScanKeys {
  issued: readonly Fingerprint[];
  /** Of this process alone. */
  key: Uint8Array;
}

/** Text in text in text. */
const DEEPEST = 2;
/** git's own test for a binary file looks so far too. */
const BINARY_PROBE = 8000;
/** A comment in the file must not be able to switch the scan off, as this rule would let it. */
const FILTER = '@secretlint/secretlint-rule-filter-comments';
const PRESET = presetRules
  .filter(({ meta }) => meta.id !== FILTER)
  .map((rule) => ({ id: rule.meta.id, rule, options: {} }));

/** @returns every place of a content in which something secret stands, one per line and rule. */
export async function scanContent(bytes: Uint8Array, keys: ScanKeys): Promise<Place[]> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  const isBinary = text.slice(0, BINARY_PROBE).includes('\0');
  const places = await scanText(text, isBinary, keys, 0);
  // UTF-16, and what is written with a wide character for each letter.
  if (isBinary) places.push(...(await scanText(text.replaceAll('\0', ''), true, keys, 0)));
  return distinct(places);
}

async function scanText(text: string, isBinary: boolean, keys: ScanKeys, depth: number): Promise<Place[]> {
  const places = [...matches(text, isBinary, keys.key), ...issuedIn(text, keys), ...(await presetIn(text, keys.key))];
  if (depth === DEEPEST) return places;
  for (const derived of derivedTexts(text)) {
    const inner = await scanText(derived.text, isBinary, keys, depth + 1);
    // What joining lines only shows once more stands where it was seen already.
    const fresh = inner.filter(({ rule, mark }) => !places.some((it) => it.rule === rule && it.mark === mark));
    places.push(...fresh.map((place) => ({ ...place, line: derived.line })));
  }
  return places;
}

function matches(text: string, isBinary: boolean, key: Uint8Array): Place[] {
  const starts = lineStarts(text);
  return OWN_RULES.filter(({ inBinary }) => inBinary || !isBinary).flatMap(({ id, pattern, isHarmless }) =>
    [...text.matchAll(pattern)].flatMap((match) => {
      const value = match.groups?.['value'] ?? match[0];
      if (isHarmless?.(value) === true) return [];
      return [{ line: lineAt(starts, match.index), rule: id, mark: markOf(value, key) }];
    }),
  );
}

/** Without what a line, a string or a wide character puts between two letters. */
function issuedIn(text: string, { issued, key }: ScanKeys): Place[] {
  if (issued.length === 0) return [];
  const squeezed = Buffer.allocUnsafe(text.length);
  const lines = new Uint32Array(text.length);
  let [length, line] = [0, 1];
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 10) line += 1;
    if (isSqueezed(code)) continue;
    squeezed[length] = code;
    lines[length] = line;
    length += 1;
  }
  return findFingerprints(squeezed.subarray(0, length), issued, key).map((at) => ({
    line: lines[at] ?? 1,
    rule: ISSUED_RULE,
    mark: ISSUED_RULE,
  }));
}

/** What `fingerprintsOf` takes out of a form, and NUL. */
const SQUEEZED = new Set([0, 9, 10, 11, 12, 13, 32, 34, 39, 43, 44, 92, 96]);
const isSqueezed = (code: number): boolean => SQUEEZED.has(code);

async function presetIn(text: string, key: Uint8Array): Promise<Place[]> {
  const { messages } = await lintSource({
    source: { content: text, filePath: 'content', contentType: 'text', ext: '' },
    options: { config: { rules: PRESET }, noPhysicFilePath: true },
  });
  return messages.map(({ ruleId, loc, range }) => ({
    line: loc.start.line,
    rule: ruleId.replace(/^@secretlint\/secretlint-rule-/, ''),
    mark: markOf(text.slice(range[0], range[1]), key),
  }));
}

const markOf = (value: string, key: Uint8Array): string =>
  createHmac('sha256', key).update(value).digest('hex').slice(0, 32);

function distinct(places: readonly Place[]): Place[] {
  return [...new Map(places.map((place) => [`${String(place.line)} ${place.rule} ${place.mark}`, place])).values()];
}
