import { isAbsolute } from 'node:path';
import type { ProgramPolicy } from '@capstan/platform';
import { isId, type AgentId, type TenantId } from '@capstan/protocol';
import type { WorktreeRecord } from '../git/index.js';
import type { SentBack, Stand } from './submission.js';

/** What must be known to clean up after a crash; written as the start goes on. */
export interface SessionRecord {
  agentId: AgentId;
  /** Owner of the work tree's files. */
  uid: number;
  gid: number;
  worktree?: WorktreeRecord;
  /** Ref of the branch that the agent was given. */
  targetRef?: string;
  /** Whose repository the work tree is of, and which. */
  tenant?: TenantId;
  repository?: string;
  /** Which kind of the owner's programs it runs; absent where it is the built-in agent. */
  program?: ProgramPolicy['kind'];
  /** As in the work place, once something was submitted. */
  earlierTrees?: Readonly<Record<string, string>>;
  /** Where the last submission stands. */
  stand?: Stand;
  /** How often it has submitted. */
  submissions?: number;
  /** Why the last submission that was judged was sent back; absent where it was accepted. */
  refused?: SentBack | undefined;
  /** As in the work place, once something was submitted. */
  trialBytes?: number;
  /** The agent's control group; empty where it has none. */
  cgroup?: string;
  /** What goes out, noted before it does: where its end is not known, the source may have taken it. */
  pushing?: Pushing | undefined;
  /** Its work could not be saved: the work tree stays, for the owner, who is shown this by `capstan agents salvage`. */
  kept?: Kept;
}

/** A commit on its way to a branch of the source. */
export interface Pushing {
  branch: string;
  commit: string;
}

/** Since when a work tree is kept, ISO 8601, and why it could not be saved. */
export interface Kept {
  at: string;
  why: string;
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string';
const isName: Check = (value) => typeof value === 'string' && isId(value);
const isPath: Check = (value) => typeof value === 'string' && isAbsolute(value);
const isCount: Check = (value) => Number.isSafeInteger(value) && Number(value) >= 0;
const absentOr =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const oneOf =
  <T extends string>(...texts: T[]): Check =>
  (value) =>
    texts.some((text) => text === value);

/** Of everything that belongs to it; what else is there is of a later version, and its own business. */
function objectOf<T>(fields: { [Name in keyof Required<T>]: Check }): Check {
  return (value) => isObject(value) && Object.entries<Check>(fields).every(([name, check]) => check(value[name]));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isNotes = objectOf<SessionRecord>({
  agentId: isName,
  uid: isCount,
  gid: isCount,
  worktree: absentOr(
    objectOf<WorktreeRecord>({ agentId: isName, taskId: isName, dir: isPath, adminDir: isPath, commit: isText }),
  ),
  targetRef: absentOr(isText),
  tenant: absentOr(isName),
  repository: absentOr(isText),
  program: absentOr(oneOf<ProgramPolicy['kind']>('command', 'acp')),
  earlierTrees: absentOr((value) => isObject(value) && Object.values(value).every(isText)),
  stand: absentOr(objectOf<Stand>({ onto: absentOr(isText), by: absentOr(oneOf('rebase', 'merge')) })),
  submissions: absentOr(isCount),
  refused: absentOr(objectOf<SentBack>({ code: isText, sentence: isText })),
  trialBytes: absentOr(isCount),
  cgroup: absentOr(isText),
  pushing: absentOr(objectOf<Pushing>({ branch: isText, commit: isText })),
  kept: absentOr(objectOf<Kept>({ at: isText, why: isText })),
});

/** Whether what a file holds is what was noted of an agent. */
export function isSessionRecord(value: unknown): value is SessionRecord {
  return isNotes(value);
}
