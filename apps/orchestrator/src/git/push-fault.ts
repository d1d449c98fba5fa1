import { GitFault } from './safe-git.js';

/** Why a push came to nothing; each has its own sentence. */
export type PushFaultReason =
  'moved' | 'hook' | 'protected' | 'denied' | 'checkout' | 'full' | 'unreachable' | 'rejected';

/** A push that was not taken. `message` is for the log: it may hold words of the remote. */
export class PushFault extends Error {
  override readonly name = 'PushFault';

  constructor(
    readonly reason: PushFaultReason,
    detail: string,
    options?: ErrorOptions,
  ) {
    super(`push: ${reason} (${detail})`, options);
  }

  /** Whether the remote may have taken the push all the same. */
  get isDoubtful(): boolean {
    return this.reason === 'unreachable' || this.reason === 'rejected';
  }

  /** For people; nothing of it is the remote's own. */
  get sentence(): string {
    return SENTENCES[this.reason];
  }
}

const SENTENCES: Readonly<Record<PushFaultReason, string>> = {
  moved: 'The branch was moved or deleted at the remote while the work was being pushed.',
  hook: "A hook of the remote's refused the branch.",
  protected: 'The remote protects this branch from pushes.',
  denied: 'The remote does not let this instance push.',
  checkout: 'The repository is a checkout that somebody works in; agents push to bare repositories only.',
  full: 'The remote has no room left.',
  unreachable: 'The remote could not be reached for the push.',
  rejected: 'The remote refused the branch.',
};

/** The first that fits counts: a hook's own words come before what git says of it. */
const SIGNS: readonly [RegExp, PushFaultReason][] = [
  [
    /stale info|fetch first|non-fast-forward|cannot lock ref|failed to update ref|reference already exists|failed to lock/i,
    'moved',
  ],
  [/protected branch|GH00[0-9]|branch is protected|not allowed to (?:force )?push code to protected/i, 'protected'],
  [/no space left|disk quota/i, 'full'],
  [/hook declined|pre-receive|update hook/i, 'hook'],
  [
    /returned error: 40[13]|permission denied|access denied|permission to .* denied|authentication failed|could not read (?:username|password)|not allowed|read.only|insufficient permission|unable to create temporary object directory/i,
    'denied',
  ],
  [/remote rejected/i, 'rejected'],
  [
    /could not resolve|unable to access|connection (?:refused|reset|timed out)|timed out|does not appear to be a git|host key verification|not found|no such file/i,
    'unreachable',
  ],
];

/** What a failed push means. */
export function pushFault(error: unknown): PushFault {
  if (!(error instanceof GitFault)) return new PushFault('rejected', String(error), { cause: error });
  if (error.reason === 'timeout' || error.reason === 'missing')
    return new PushFault('unreachable', error.message, { cause: error });
  const reason = SIGNS.find(([sign]) => sign.test(error.stderr))?.[1] ?? 'rejected';
  return new PushFault(reason, error.message, { cause: error });
}
