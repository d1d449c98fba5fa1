import { join } from 'node:path';
import { WireFault } from '@capstan/protocol';
import { hostRuntime, type SandboxLimits, type SandboxSpec } from '@capstan/sandbox';
import type { ClearSecrets } from '../secrets/agent-secrets.js';
import type { Session } from './session.js';
import type { SpawnPlan } from './spawn-plan.js';

/** Iterations of the built-in loop: the SDK's own runner has no limit. */
const ITERATIONS = 200;
/** Tokens of one agent, in and out; the budget is the limit that counts. */
const TOKENS = 5_000_000;
const WORKSPACE = '/workspace';
const RUN = '/run/capstan';

/** What a runtime puts into the sandbox. */
interface Runtime {
  argv: string[];
  /** Files of the runtime directory by their place inside. */
  files: Readonly<Record<string, string>>;
}

const RUNTIMES: Readonly<Record<string, Runtime>> = {
  claude: {
    argv: ['/opt/capstan/node', '/opt/capstan/agent.mjs'],
    files: { '/opt/capstan/node': 'node', '/opt/capstan/agent.mjs': 'agent.mjs' },
  },
};

/** What an agent is told about its task; it reads this at /run/capstan/task.json. */
export function taskFile(plan: SpawnPlan): string {
  const { agentId, taskId, role, runtime, model, workItems, skills, timeoutMs } = plan;
  const limits = { iterations: ITERATIONS, tokens: TOKENS, timeoutMs };
  return JSON.stringify({ agentId, taskId, role, runtime, model, workItems, skills, limits, repositoryDir: WORKSPACE });
}

export interface SandboxParts {
  plan: SpawnPlan;
  session: Session;
  /** Where the runtimes' files lie on the host. */
  runtimeDir: string;
  limits: SandboxLimits;
  worktreeMounts: SandboxSpec['mounts'];
  secrets?: ClearSecrets;
}

/** The sandbox of one agent. @throws {WireFault} `policy-runtime` where no such runtime is built in */
export function sandboxSpec(parts: SandboxParts): SandboxSpec {
  const { plan, session, runtimeDir, limits, worktreeMounts, secrets = {} } = parts;
  const runtime = RUNTIMES[plan.runtime];
  if (runtime === undefined) throw new WireFault('policy-runtime', plan.runtime);
  const files = Object.entries(runtime.files).map(([target, name]) => ({
    source: join(runtimeDir, name),
    target,
    mode: 'ro' as const,
  }));
  return {
    agentId: plan.agentId,
    argv: runtime.argv,
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
    mounts: [...hostRuntime(), ...files, { source: session.runDirectory, target: RUN, mode: 'ro' }, ...worktreeMounts],
    limits,
    network: 'none',
  };
}
