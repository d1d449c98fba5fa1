import { join } from 'node:path';
import { loadConfig, parseListenTarget, parseValkeyUrl, type ListenTarget } from '@capstan/platform';
import type { SandboxLimits } from '@capstan/sandbox';
import { Environment } from './environment.js';

/** The orchestrator's configuration, read once. It holds the model key: it is never logged. */
export interface Settings {
  valkeyUrl: string;
  listen: ListenTarget;
  provider: { name: 'scripted' } | { name: 'anthropic'; apiKey: string; url?: string };
  /** Roles of agents that are answered by playbook although there is a model. */
  scriptedRoles: readonly string[];
  runtimeDir: string;
  /** First host uid of agents; undefined where the orchestrator may not change uid and agents have its own. */
  agentUidBase: number | undefined;
  /** undefined where agents run in bubblewrap only. */
  docker: { socketPath: string; image?: string } | undefined;
  agentLimits: SandboxLimits;
  keepDays: number;
  queueLimit: number;
  coordinatorUrl: string | undefined;
  paths: InstancePaths;
}

/** Where things lie in the instance's directory. */
export interface InstancePaths {
  instance: string;
  trust: string;
  operators: string;
  peers: string;
  policy: string;
  token: string;
  reaperSocket: string;
  audit: string;
  repositories: string;
  /** How private repositories are reached; the owner writes it. */
  gitCredentials: string;
  /** One directory per agent that lives. */
  agents: string;
  /** Pipes to the agents that Docker runs. */
  gates: string;
  logs: string;
  /** Copies of the owner's programs. */
  programs: string;
}

/** @throws LocalFault `config-invalid` with every fault at once; `listen-malformed`, `valkey-url` */
export function loadSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const read = loadConfig(Environment, env, unsafeCombinations);
  const valkeyUrl = valkeyOf(read);
  parseValkeyUrl(valkeyUrl);
  const paths = pathsOf(read.CAPSTAN_INSTANCE_DIR);
  return {
    valkeyUrl,
    listen: parseListenTarget(
      read.CAPSTAN_ORCHESTRATOR_LISTEN || join(read.CAPSTAN_INSTANCE_DIR, 'run', 'orchestrator.sock'),
    ),
    provider: providerOf(read),
    scriptedRoles: scriptedRolesOf(read),
    runtimeDir: read.CAPSTAN_RUNTIME_DIR,
    agentUidBase: process.getuid?.() === 0 ? read.CAPSTAN_AGENT_UID_BASE : undefined,
    docker: dockerOf(read),
    agentLimits: {
      memoryBytes: read.CAPSTAN_AGENT_MEMORY_BYTES,
      pids: read.CAPSTAN_AGENT_PIDS,
      cpus: read.CAPSTAN_AGENT_CPUS,
      diskBytes: read.CAPSTAN_AGENT_DISK_BYTES,
      diskEntries: read.CAPSTAN_AGENT_DISK_ENTRIES,
    },
    keepDays: read.CAPSTAN_KEEP_DAYS,
    queueLimit: read.CAPSTAN_QUEUE_LIMIT,
    coordinatorUrl: read.COORDINATOR_URL,
    paths,
  };
}

export function pathsOf(directory: string): InstancePaths {
  return {
    instance: join(directory, 'instance.json'),
    trust: join(directory, 'trust.json'),
    operators: join(directory, 'operators.json'),
    peers: join(directory, 'peers.json'),
    policy: join(directory, 'policy.yaml'),
    token: join(directory, 'tokens', 'orchestrator.token'),
    reaperSocket: join(directory, 'run', 'reaper.sock'),
    audit: join(directory, 'audit', 'orchestrator.log'),
    repositories: join(directory, 'repositories'),
    gitCredentials: join(directory, 'git-credentials.yaml'),
    agents: join(directory, 'agents'),
    gates: join(directory, 'gates'),
    logs: join(directory, 'logs', 'agents'),
    programs: join(directory, 'programs'),
  };
}

function dockerOf(env: Environment): Settings['docker'] {
  if (env.CAPSTAN_SANDBOX !== 'docker') return undefined;
  const { CAPSTAN_DOCKER_SOCKET: socketPath, CAPSTAN_AGENT_IMAGE: image } = env;
  return { socketPath, ...(image === undefined || image === '' ? {} : { image }) };
}

function unsafeCombinations(env: Environment): string[] {
  const faults: string[] = [];
  if (valkeyOf(env) === '') faults.push('CAPSTAN_VALKEY_URL or VALKEY_URL must be set');
  if (nameOfProvider(env) === 'anthropic' && keyOf(env) === '') {
    const asked = env.CAPSTAN_EXECUTION_MODE === undefined ? 'CAPSTAN_MODEL_PROVIDER' : 'CAPSTAN_EXECUTION_MODE';
    const value = env.CAPSTAN_EXECUTION_MODE ?? 'anthropic';
    faults.push(`${asked}=${value} needs ANTHROPIC_API_KEY or CLAUDE_API_KEY; without a key use scripted`);
  }
  const provider = env.CAPSTAN_MODEL_PROVIDER;
  if (env.CAPSTAN_EXECUTION_MODE !== undefined && provider !== undefined && provider !== nameOfProvider(env))
    faults.push(`CAPSTAN_EXECUTION_MODE=${env.CAPSTAN_EXECUTION_MODE} contradicts CAPSTAN_MODEL_PROVIDER=${provider}`);
  if (
    env.CAPSTAN_EXECUTION_MODE !== 'hybrid' &&
    (env.CAPSTAN_CLAUDE_ROLES ?? env.CAPSTAN_CLAUDE_EXCLUDED_ROLES) !== undefined
  )
    faults.push('CAPSTAN_CLAUDE_ROLES and CAPSTAN_CLAUDE_EXCLUDED_ROLES need CAPSTAN_EXECUTION_MODE=hybrid');
  if (isKeyInTheClear(env)) {
    faults.push('CAPSTAN_ANTHROPIC_URL must be https: over http the model key would travel in the clear');
  }
  return faults;
}

/** http is for a server on this machine. */
function isKeyInTheClear({ CAPSTAN_ANTHROPIC_URL: text }: Environment): boolean {
  if (text === undefined || !URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocol === 'http:' && !/^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
}

function providerOf(env: Environment): Settings['provider'] {
  const apiKey = keyOf(env);
  const name = nameOfProvider(env);
  if (name === 'scripted') return { name };
  return { name, apiKey, ...(env.CAPSTAN_ANTHROPIC_URL === undefined ? {} : { url: env.CAPSTAN_ANTHROPIC_URL }) };
}

function nameOfProvider(env: Environment): 'anthropic' | 'scripted' {
  const mode = env.CAPSTAN_EXECUTION_MODE;
  if (mode !== undefined) return mode === 'deterministic' ? 'scripted' : 'anthropic';
  return env.CAPSTAN_MODEL_PROVIDER ?? (keyOf(env) === '' ? 'scripted' : 'anthropic');
}

const ROLES = ['worker', 'reviewer', 'tester'];

function scriptedRolesOf(env: Environment): string[] {
  if (env.CAPSTAN_EXECUTION_MODE !== 'hybrid') return [];
  const included = env.CAPSTAN_CLAUDE_ROLES?.split(',') ?? ROLES;
  const excluded = env.CAPSTAN_CLAUDE_EXCLUDED_ROLES?.split(',') ?? [];
  return ROLES.filter((role) => !included.includes(role) || excluded.includes(role));
}

const valkeyOf = (env: Environment): string => env.CAPSTAN_VALKEY_URL ?? env.VALKEY_URL ?? '';
const keyOf = (env: Environment): string => env.ANTHROPIC_API_KEY ?? env.CLAUDE_API_KEY ?? '';
