import { createHmac, timingSafeEqual } from 'node:crypto';

/**
 * What is kept of one form of a secret: enough to know it again in a text, not enough to tell it. The rolling hash finds
 * candidates cheaply, the keyed digest decides.
 */
export interface Fingerprint {
  length: number;
  rolling: number;
  digest: Uint8Array;
}

/** Shorter secrets are not looked for: they would be found everywhere. */
export const SHORTEST_SECRET = 8;
const SHORTEST_FORM = 8;
const FACTOR = 0x01000193;

/** The forms in which a value is looked for. @param key of this process alone */
export function fingerprintsOf(value: string, key: Uint8Array): Fingerprint[] {
  const bytes = Buffer.from(value, 'utf8');
  if (bytes.length < SHORTEST_SECRET) return [];
  const forms = new Set<string>();
  for (const each of [bytes, Buffer.from(bytes).reverse()]) for (const form of formsOf(each)) forms.add(form);
  return [...forms].filter((form) => form.length >= SHORTEST_FORM).map((form) => fingerprint(form, key));
}

function formsOf(bytes: Buffer): string[] {
  const plain = bytes.toString('latin1');
  const hex = bytes.toString('hex');
  const percent = hex.replace(/../g, (code) => `%${code}`);
  return [
    plain,
    plain.trim(),
    // Characters of base64 that are the same wherever the value stands in what is encoded.
    ...[0, 1, 2].flatMap((shift) => base64Core(bytes, shift)),
    hex,
    hex.toUpperCase(),
    percent,
    percent.toUpperCase(),
    ...inUrl(bytes),
    JSON.stringify(bytes.toString('utf8')).slice(1, -1),
  ].map((form) => form.replace(/[\s"'`+,\\]/g, ''));
}

function inUrl(bytes: Buffer): string[] {
  const text = bytes.toString('utf8');
  try {
    return [encodeURIComponent(text), new URLSearchParams({ v: text }).toString().slice(2)];
  } catch {
    return [];
  }
}

function base64Core(bytes: Buffer, shift: number): string[] {
  const encoded = Buffer.concat([Buffer.alloc(shift), bytes])
    .toString('base64')
    .replace(/=+$/, '');
  const from = shift === 0 ? 0 : shift + 1;
  const isWhole = (bytes.length + shift) % 3 === 0;
  const core = encoded.slice(from, isWhole ? undefined : -1);
  return [core, core.replaceAll('+', '-').replaceAll('/', '_')];
}

function fingerprint(form: string, key: Uint8Array): Fingerprint {
  const bytes = Buffer.from(form, 'latin1');
  let rolling = 0;
  for (const byte of bytes) rolling = (Math.imul(rolling, FACTOR) + byte) | 0;
  return { length: bytes.length, rolling, digest: digestOf(bytes, key) };
}

const digestOf = (bytes: Uint8Array, key: Uint8Array): Uint8Array => createHmac('sha256', key).update(bytes).digest();

/** @returns places in `bytes` at which something that was issued stands, one per form at most. */
export function findFingerprints(bytes: Uint8Array, wanted: readonly Fingerprint[], key: Uint8Array): number[] {
  const places: number[] = [];
  for (const [length, forms] of byLength(wanted)) {
    if (length > bytes.length) continue;
    const candidates = new Map(forms.map((form) => [form.rolling, form]));
    let leading = 1;
    for (let step = 1; step < length; step += 1) leading = Math.imul(leading, FACTOR);
    let rolling = 0;
    for (let end = 0; end < bytes.length; end += 1) {
      if (end >= length) rolling = (rolling - Math.imul(bytes[end - length] ?? 0, leading)) | 0;
      rolling = (Math.imul(rolling, FACTOR) + (bytes[end] ?? 0)) | 0;
      if (end < length - 1) continue;
      const form = candidates.get(rolling);
      if (form === undefined) continue;
      const at = end - length + 1;
      if (!timingSafeEqual(form.digest, digestOf(bytes.subarray(at, end + 1), key))) continue;
      places.push(at);
      candidates.delete(rolling);
    }
  }
  return places;
}

function byLength(wanted: readonly Fingerprint[]): Map<number, Fingerprint[]> {
  const groups = new Map<number, Fingerprint[]>();
  for (const each of wanted) groups.set(each.length, [...(groups.get(each.length) ?? []), each]);
  return groups;
}
