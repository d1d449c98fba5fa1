/** What a secret looks like in a text. */
export interface SecretRule {
  /** Named in findings and in the owner's allow list. */
  id: string;
  /** Linear: no repetition inside a repetition. The named group `value`, else the whole match, is the secret. */
  pattern: RegExp;
  /** Whether it is looked for in binary files too, where a guess would find noise. */
  inBinary: boolean;
  /** A match that is none after all. */
  isHarmless?: (value: string) => boolean;
}

/** Between a PEM's lines: a line end, or one that is written out in a string. */
const GAP = String.raw`(?:\\+[nr]|["'+,\s]){1,12}`;

/**
 * Besides the preset of secretlint: what it does not know, and what agents of ours can come by. Lengths are those of the
 * real things, so that the header of a PEM in a parser, or a digest in a lock file, is no finding.
 */
export const OWN_RULES: readonly SecretRule[] = [
  { id: 'anthropic-key', pattern: /sk-ant-[\w-]{16,256}/g, inBinary: true },
  {
    id: 'private-key',
    pattern: new RegExp(
      String.raw`-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----${GAP}[\w+/=:-]{20}`,
      'g',
    ),
    inBinary: true,
  },
  // PKCS#8 of an Ed25519 key without its header: a prefix of 16 bytes, then the seed.
  { id: 'ed25519-key', pattern: /MC4CAQAwBQYDK2VwBCIEI[A-Za-z0-9+/_-]{43}/g, inBinary: true },
  { id: 'openssh-key', pattern: /b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/=]{60}/g, inBinary: true },
  { id: 'jwt', pattern: /\beyJ[\w-]{8,2000}\.eyJ[\w-]{8,4000}\.[\w-]{16,1000}/g, inBinary: true },
  {
    id: 'hex-seed',
    pattern:
      /(?:seed|secret|priv(?:ate)?[_-]?key|signing[_-]?key|master[_-]?key)["'\]]{0,2}\s{0,3}[:=]>?\s{0,3}["'`]?(?:0x)?(?<value>[0-9a-f]{64})(?![0-9a-f])/gi,
    inBinary: false,
  },
  {
    id: 'password',
    pattern:
      /(?:passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|(?:auth|access|refresh|bearer)[_-]?token)["'\]]{0,2}\s{0,3}[:=]>?\s{0,3}(?<quote>["'`])(?<value>[^"'`\s]{8,200})\k<quote>/gi,
    inBinary: false,
    isHarmless: isPlaceholder,
  },
];

/** Whether a quoted value names where a secret comes from, or stands in for one, rather than being it. */
export function isPlaceholder(value: string): boolean {
  if (/[$<{%]|^\.|^[/@#]|process\.|env\./i.test(value)) return true;
  if (/example|placeholder|changeme|change-me|dummy|redacted|your[_-]|xxxx|\*\*\*\*|\.\.\./i.test(value)) return true;
  // A word or an identifier, not something that was made up or generated.
  return /^[a-z]+(?:[-_. ][a-z]+)*$/.test(value) || /^(.)\1*$/.test(value);
}
