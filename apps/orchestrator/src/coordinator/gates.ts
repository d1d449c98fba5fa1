import type { Logger } from '@capstan/platform';
import type { AgentId, TaskId } from '@capstan/protocol';

/** What a gate judges: a tree, and the commit of the bare repository that it grew from. */
export interface GateSubject {
  agentId: AgentId;
  taskId: TaskId;
  /** Directory of the bare repository. */
  repository: string;
  /** Further directory of objects: before the commit the tree is in no other. */
  objects: string;
  baseCommit: string;
  tree: string;
  files: readonly string[];
}

export type GateVerdict = { passed: true } | { passed: false; code: string; sentence: string };

/** Where quality gates stand: between submit and commit, and between commit and push. */
export interface Gates {
  beforeCommit(subject: GateSubject): Promise<GateVerdict>;
  beforePush(subject: GateSubject & { commit: string }): Promise<GateVerdict>;
}

/** No coordinator judges the work; each passage says so in the log, so that nobody takes it for a verdict. */
export function noGates(logger: Logger): Gates {
  const pass = (gate: string, { agentId }: GateSubject): GateVerdict => {
    logger.warn({ agentId, gate, msg: 'no gate is configured: the work was not judged' });
    return { passed: true };
  };
  return {
    beforeCommit: async (subject) => pass('before-commit', subject),
    beforePush: async (subject) => pass('before-push', subject),
  };
}
