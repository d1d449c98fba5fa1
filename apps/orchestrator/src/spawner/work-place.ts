import type { BareRepository, Worktree } from '../git/index.js';
import type { Session } from './session.js';

/** What of an agent's start is needed to judge and take in its work. */
export interface WorkPlace {
  session: Session;
  repository: BareRepository;
  worktree: Worktree;
  /** Ref of the branch that the agent was given. */
  targetRef: string;
  /** Trees that were judged before, by the commit onto which the agent was sent. */
  earlierTrees: Map<string, string>;
  /** Bytes that were submitted on trial. */
  trialBytes: number;
}

/** Bytes that an agent may submit on trial in all, packed: what was told to be in conflict is kept for it. */
export const TRIAL_BYTES = 1024 * 1024 * 1024;
