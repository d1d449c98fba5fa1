import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { LocalFault } from '@capstan/protocol';
import { type CompactionPolicy, parseCompaction } from './compaction-policy.js';
import { type OriginPolicy, parseOriginPolicy } from './origin-policy.js';
import { parseAuthor, type AuthorPolicy } from './commit-author.js';
import { parsePrograms, type ProgramsPolicy } from './program-policy.js';
import { parseSecretScan, type SecretScanPolicy } from './secret-scan-policy.js';

/** What a sandbox can enforce; see `Enforcement` of the sandbox room. */
export const DEMANDABLE_LIMITS = ['memory', 'pids', 'cpus', 'disk', 'seccomp', 'ownUid'] as const;
export type DemandableLimit = (typeof DEMANDABLE_LIMITS)[number];

/** What the owner of an instance lets others start on it; written in policy.yaml. */
export interface SpawnPolicy {
  /** Runtimes that an agent may have. */
  runtimes: readonly string[];
  /** Exact paths or URLs, or prefixes that end in `/*`. */
  repositories: readonly string[];
  /** Tenants for whom agents may run here. */
  tenants: readonly string[];
  /** Agents that may run at once; more wait in the orchestrator's queue. */
  concurrency: number;
  /** Most that one agent may spend, millionths of a US dollar. */
  budgetMicroUsd: number;
  /** Most that all agents of one task may spend together, millionths of a US dollar; no limit unless told. */
  taskBudgetMicroUsd?: number;
  /** Most that all agents of one tenant may spend on one day (UTC), millionths of a US dollar; no limit unless told. */
  tenantBudgetMicroUsdPerDay?: number;
  /** US dollars per million tokens, `{input, output}`, as which a model without a list price is counted; without it such a model is refused. */
  unknownModels?: ModelCeilingPolicy;
  /** Longest run of one agent, milliseconds. */
  timeoutMs: number;
  /** Drivers that may be used; the first is the default. */
  sandboxes: readonly string[];
  /** Limits that a sandbox must really enforce, or the agent is not started; none unless told. */
  demandLimits?: readonly DemandableLimit[];
  /** Agents that may be started within any minute; more wait in the queue. No limit unless told. */
  startsPerMinute?: number;
}

/** What becomes of an agent that neither prints a line nor is answered by the model. */
export interface StallPolicy {
  /** For so long, milliseconds, at least 1000. */
  afterMs: number;
  /** `notify`: an event and a mark at the agent; `kill`: the agent is ended too, as `agent-stalled`. */
  action: StallAction;
}

export type StallAction = 'notify' | 'kill';

/** US dollars per million tokens. */
export interface ModelCeilingPolicy {
  input: number;
  output: number;
}

export type OnRevoked = 'kill' | 'keep';

export interface OwnerPolicy extends OriginPolicy {
  /** Version of this file. */
  version: 1;
  /** What a spawn may ask for. */
  spawn: SpawnPolicy;
  /** Names of the sealed secrets that agents may be given; none unless told. */
  secrets?: readonly string[];
  /** In whose name agents' work is committed; `Capstan agent` unless told. */
  author?: AuthorPolicy;
  /** Programs that agents may be beside the built-in `claude`, by the name that a spawn gives as its runtime. */
  programs?: ProgramsPolicy;
  /** What the secret scan lets pass; nothing unless told. */
  secretScan?: SecretScanPolicy;
  /** What becomes of the agents here once the hub has revoked the instance; `kill` unless the owner says otherwise. */
  onRevoked: OnRevoked;
  /** When an agent counts as stalled, and what follows; none does unless told. */
  onStall?: StallPolicy;
  /** When the built-in agent's conversation is summed up; at 80 % of 200000 tokens unless told. */
  compaction?: CompactionPolicy;
  /** No spawn unless the kill path was proven within so many milliseconds; absent where the owner does not ask for it. */
  requireProbeWithinMs?: number;
}

/** @throws LocalFault `policy-unreadable`, `policy-invalid` (names every fault at once) */
export async function loadPolicy(file: string): Promise<OwnerPolicy> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    // Whoever orders here is told the sentence; where the file lies is the owner's to know.
    throw new LocalFault('policy-unreadable', "The owner's policy.yaml cannot be read.", file, { cause: error });
  }
  return parsePolicy(text, file);
}

/** @param file where the text is from, for the log. @throws LocalFault `policy-invalid` */
export function parsePolicy(text: string, file?: string): OwnerPolicy {
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    throw new LocalFault('policy-invalid', "The owner's policy.yaml is no YAML.", file, { cause: error });
  }
  const faults: string[] = [];
  const root = record(
    document,
    'the file',
    [
      'version',
      'spawn',
      'onRevoked',
      'onStall',
      'requireProbeWithinMs',
      'demandOperatorSignature',
      'peers',
      'secrets',
      'secretScan',
      'programs',
      'author',
      'compaction',
    ],
    faults,
  );
  if (root['version'] !== 1) faults.push('version must be 1');
  const from = record(root['spawn'], 'spawn', FIELDS, faults);
  const spawn: SpawnPolicy = {
    runtimes: texts(from['runtimes'], 'spawn.runtimes', faults),
    repositories: texts(from['repositories'], 'spawn.repositories', faults),
    tenants: texts(from['tenants'], 'spawn.tenants', faults),
    concurrency: whole(from['concurrency'], 'spawn.concurrency', faults),
    budgetMicroUsd: whole(from['budgetMicroUsd'], 'spawn.budgetMicroUsd', faults),
    timeoutMs: whole(from['timeoutMs'], 'spawn.timeoutMs', faults),
    sandboxes: texts(from['sandboxes'], 'spawn.sandboxes', faults),
    ...(from['demandLimits'] === undefined ? {} : { demandLimits: demandedOf(from['demandLimits'], faults) }),
    ...sharedBudgets(from, faults),
    ...(from['startsPerMinute'] === undefined ? {} : { startsPerMinute: startsOf(from['startsPerMinute'], faults) }),
  };
  const origins = parseOriginPolicy(root, faults);
  const secrets = texts(root['secrets'] ?? [], 'secrets', faults);
  const author = parseAuthor(root['author'], faults);
  const programs = parsePrograms(root['programs'], faults);
  const compaction = parseCompaction(root['compaction'], faults);
  const secretScan = parseSecretScan(root['secretScan'], faults);
  const onRevoked = onRevokedOf(root['onRevoked'] ?? 'kill', faults);
  const onStall = root['onStall'] === undefined ? undefined : onStallOf(root['onStall'], faults);
  const probeMs = root['requireProbeWithinMs'];
  if (probeMs !== undefined && whole(probeMs, 'requireProbeWithinMs', faults) === 0)
    faults.push('requireProbeWithinMs must be above 0');
  if (faults.length > 0)
    throw new LocalFault('policy-invalid', `The owner's policy.yaml cannot be used: ${faults.join('; ')}.`, file);
  return {
    version: 1,
    spawn,
    secrets,
    secretScan,
    programs,
    ...(author === undefined ? {} : { author }),
    ...(compaction === undefined ? {} : { compaction }),
    onRevoked,
    ...(onStall === undefined ? {} : { onStall }),
    ...(typeof probeMs === 'number' ? { requireProbeWithinMs: probeMs } : {}),
    ...origins,
  };
}

const FIELDS = [
  'runtimes',
  'repositories',
  'tenants',
  'concurrency',
  'budgetMicroUsd',
  'timeoutMs',
  'sandboxes',
  'demandLimits',
  'taskBudgetMicroUsd',
  'tenantBudgetMicroUsdPerDay',
  'unknownModels',
  'startsPerMinute',
];

function demandedOf(value: unknown, faults: string[]): DemandableLimit[] {
  const known = (name: unknown): name is DemandableLimit => DEMANDABLE_LIMITS.some((limit) => limit === name);
  if (Array.isArray(value) && value.every(known)) return value;
  faults.push(`spawn.demandLimits must be a list of ${DEMANDABLE_LIMITS.join(', ')}`);
  return [];
}

function sharedBudgets(
  from: Record<string, unknown>,
  faults: string[],
): Pick<SpawnPolicy, 'taskBudgetMicroUsd' | 'tenantBudgetMicroUsdPerDay' | 'unknownModels'> {
  const { taskBudgetMicroUsd: task, tenantBudgetMicroUsdPerDay: tenant, unknownModels: ceiling } = from;
  return {
    ...(task === undefined ? {} : { taskBudgetMicroUsd: whole(task, 'spawn.taskBudgetMicroUsd', faults) }),
    ...(tenant === undefined
      ? {}
      : { tenantBudgetMicroUsdPerDay: whole(tenant, 'spawn.tenantBudgetMicroUsdPerDay', faults) }),
    ...(ceiling === undefined ? {} : { unknownModels: ceilingOf(ceiling, faults) }),
  };
}

function ceilingOf(value: unknown, faults: string[]): ModelCeilingPolicy {
  const { input, output } = record(value, 'spawn.unknownModels', ['input', 'output'], faults);
  const isPrice = (it: unknown): it is number => typeof it === 'number' && Number.isFinite(it) && it > 0;
  if (isPrice(input) && isPrice(output)) return { input, output };
  faults.push('spawn.unknownModels must have input and output, dollars above 0');
  return { input: 0, output: 0 };
}
const SHORTEST_STALL_MS = 1_000;

function startsOf(value: unknown, faults: string[]): number {
  const starts = whole(value, 'spawn.startsPerMinute', faults);
  if (value === 0) faults.push('spawn.startsPerMinute must be above 0');
  return starts;
}

function onStallOf(value: unknown, faults: string[]): StallPolicy {
  const { afterMs, action } = record(value, 'onStall', ['afterMs', 'action'], faults);
  const patienceMs = whole(afterMs, 'onStall.afterMs', faults);
  if (typeof afterMs === 'number' && afterMs < SHORTEST_STALL_MS) faults.push('onStall.afterMs must be 1000 or more');
  if (action !== 'notify' && action !== 'kill') faults.push('onStall.action must be notify or kill');
  return { afterMs: patienceMs, action: action === 'kill' ? 'kill' : 'notify' };
}

function onRevokedOf(value: unknown, faults: string[]): OnRevoked {
  if (value === 'kill' || value === 'keep') return value;
  faults.push('onRevoked must be kill or keep');
  return 'kill';
}

function record(value: unknown, name: string, known: readonly string[], faults: string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    faults.push(`${name} must be a mapping`);
    return {};
  }
  // A misspelt limit must not silently be no limit.
  for (const field of Object.keys(value))
    if (!known.includes(field)) faults.push(`${name} has an unknown field "${field}"`);
  return value as Record<string, unknown>;
}

function texts(value: unknown, name: string, faults: string[]): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string' && item !== '')) return value as string[];
  faults.push(`${name} must be a list of texts`);
  return [];
}

function whole(value: unknown, name: string, faults: string[]): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  faults.push(`${name} must be a whole number, 0 or more`);
  return 0;
}
