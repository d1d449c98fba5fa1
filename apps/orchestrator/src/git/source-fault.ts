import { LocalFault, WireFault } from '@capstan/protocol';
import { diskFault } from './disk-fault.js';
import { GitFault } from './safe-git.js';

/**
 * What git, ssh, and servers by https say of a source that is not there, is no repository, or is not for us. The
 * language is git's C locale. A server's own words come after `remote:`, and a host's refusal need not be git's at all.
 */
const MISSING: readonly RegExp[] = [
  /does not appear to be a git repository/i,
  /repository .*not found/i,
  /no such file or directory/i,
  /detected dubious ownership/i,
  /permission denied/i,
  /access denied/i,
  /authentication failed/i,
  /could not read (?:username|password)/i,
  /host key verification failed/i,
  /the requested url returned error: 40[134]/i,
];

/** What fsck says of objects that it does not let in. */
const UNSAFE = /fsck error in packed object|error in object|(?:tree|blob|commit|tag) [0-9a-f]{40}: \w+: /;

/** Of ours, not the source's: the same words from the repository that git writes to say nothing about the source. */
const OURS: readonly RegExp[] = [/\.lock'/i, /no space left/i, /unable to (?:create|write|append)/i, /cannot lock/i];

/**
 * What a failed question to a source means: `repository-missing` where the source says so, and a local fault, which a
 * later try may not have, for everything else (a lock, a full disk, a time-out, a network that is away). git's own
 * words are its detail, for the log alone.
 */
export function sourceFault(error: unknown): WireFault | LocalFault {
  const detail = error instanceof GitFault ? error.message : String(error);
  const full = diskFault(error);
  if (full !== undefined) return full;
  if (isMissing(error)) return new WireFault('repository-missing', detail, { cause: error });
  if (error instanceof GitFault && UNSAFE.test(error.stderr))
    return new WireFault('repository-unsafe', detail, { cause: error });
  const sentence = 'The repository could not be brought up to date just now; the log says why.';
  return new LocalFault('repository-unavailable', sentence, detail, { cause: error });
}

function isMissing(error: unknown): boolean {
  if (!(error instanceof GitFault) || error.reason !== 'failed') return false;
  const says = (patterns: readonly RegExp[]): boolean => patterns.some((pattern) => pattern.test(error.stderr));
  return says(MISSING) && !says(OURS);
}
