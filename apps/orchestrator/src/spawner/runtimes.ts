import { join } from 'node:path';
import { DEFAULT_COMPACTION } from '@capstan/platform';
import type { SandboxLimits, SandboxSpec } from '@capstan/sandbox';
import type { ClearSecrets } from '../secrets/agent-secrets.js';
import type { Session } from './session.js';
import type { Program } from './program.store.js';
import type { SpawnPlan } from './spawn-plan.js';

/** Iterations of the built-in loop: the SDK's own runner has no limit. */
const ITERATIONS = 200;
/** Tokens of one agent, in and out; the budget is the limit that counts. */
const TOKENS = 5_000_000;
const WORKSPACE = '/workspace';
const RUN = '/run/capstan';
/** Where the files of the owner's program are. */
const PROGRAM = '/opt/program';

/** What a runtime puts into the sandbox. */
interface Runtime {
  argv: string[];
  /** Files of the runtime directory by their place inside. */
  files: Readonly<Record<string, string>>;
}

/** Every agent begins with this: it is the agent itself, or opens the way to the model for the owner's program. */
const AGENT: Runtime = {
  argv: ['/opt/capstan/node', '/opt/capstan/agent.mjs'],
  files: { '/opt/capstan/node': 'node', '/opt/capstan/agent.mjs': 'agent.mjs' },
};

/**
 * What an agent is told about its task; it reads this at /run/capstan/task.json.
 *
 * @param program of the owner's that the agent is; absent: the built-in one. @param compaction of the built-in one's conversation
 */
export function taskFile(plan: SpawnPlan, program?: Program, compaction = DEFAULT_COMPACTION): string {
  const { agentId, taskId, role, runtime, model, workItems, skills, timeoutMs } = plan;
  const { contextTokens, atPercent } = compaction;
  const compactAtTokens = Math.floor((contextTokens * atPercent) / 100);
  const limits = { iterations: ITERATIONS, tokens: TOKENS, timeoutMs, contextTokens, compactAtTokens };
  const task = { agentId, taskId, role, runtime, model, workItems, skills, limits, repositoryDir: WORKSPACE };
  const { source: _source, ...told } = program ?? {};
  return JSON.stringify(program === undefined ? task : { ...task, program: told });
}

export interface SandboxParts {
  plan: SpawnPlan;
  session: Session;
  /** Where the runtimes' files lie on the host. */
  runtimeDir: string;
  limits: SandboxLimits;
  worktreeMounts: SandboxSpec['mounts'];
  secrets?: ClearSecrets;
  program?: Program | undefined;
}

/** The sandbox of one agent. */
export function sandboxSpec(parts: SandboxParts): SandboxSpec {
  const { plan, session, runtimeDir, limits, worktreeMounts, secrets = {}, program } = parts;
  const files = Object.entries(AGENT.files).map(([target, name]) => ({
    source: join(runtimeDir, name),
    target,
    mode: 'ro' as const,
  }));
  const programs =
    program?.source === undefined ? [] : [{ source: program.source, target: PROGRAM, mode: 'ro' as const }];
  return {
    agentId: plan.agentId,
    driver: plan.sandbox,
    argv: AGENT.argv,
    env: {
      // First: none of them takes the place of what follows.
      ...secrets,
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/capstan',
      HOME: '/tmp',
      TMPDIR: '/tmp',
      LANG: 'C.UTF-8',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      GIT_OPTIONAL_LOCKS: '0',
      // The work tree belongs to the agent, its metadata to root: without this git would refuse to read it.
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
    },
    cwd: WORKSPACE,
    uid: session.uid,
    gid: session.gid,
    mounts: [...files, ...programs, { source: session.runDirectory, target: RUN, mode: 'ro' }, ...worktreeMounts],
    limits,
    network: 'none',
  };
}
