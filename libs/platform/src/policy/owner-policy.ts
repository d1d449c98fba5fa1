import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { LocalFault } from '@capstan/protocol';
import { type OriginPolicy, parseOriginPolicy } from './origin-policy.js';

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
  /** Longest run of one agent, milliseconds. */
  timeoutMs: number;
  /** Drivers that may be used; the first is the default. */
  sandboxes: readonly string[];
}

export type OnRevoked = 'kill' | 'keep';

export interface OwnerPolicy extends OriginPolicy {
  /** Version of this file. */
  version: 1;
  /** What a spawn may ask for. */
  spawn: SpawnPolicy;
  /** Names of the sealed secrets that agents may be given; none unless told. */
  secrets?: readonly string[];
  /** What becomes of the agents here once the hub has revoked the instance; `kill` unless the owner says otherwise. */
  onRevoked: OnRevoked;
  /** No spawn unless the kill path was proven within so many milliseconds; absent where the owner does not ask for it. */
  requireProbeWithinMs?: number;
}

/** @throws LocalFault `policy-unreadable`, `policy-invalid` (names every fault at once) */
export async function loadPolicy(file: string): Promise<OwnerPolicy> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new LocalFault('policy-unreadable', `The owner's policy ${file} cannot be read.`, undefined, {
      cause: error,
    });
  }
  return parsePolicy(text, file);
}

/** @param place how the text is named in the fault. @throws LocalFault `policy-invalid` */
export function parsePolicy(text: string, place = 'policy.yaml'): OwnerPolicy {
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    throw new LocalFault('policy-invalid', `${place} is no YAML.`, undefined, { cause: error });
  }
  const faults: string[] = [];
  const root = record(
    document,
    'the file',
    ['version', 'spawn', 'onRevoked', 'requireProbeWithinMs', 'demandOperatorSignature', 'peers', 'secrets'],
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
  };
  const origins = parseOriginPolicy(root, faults);
  const secrets = texts(root['secrets'] ?? [], 'secrets', faults);
  const onRevoked = onRevokedOf(root['onRevoked'] ?? 'kill', faults);
  const probeMs = root['requireProbeWithinMs'];
  if (probeMs !== undefined && whole(probeMs, 'requireProbeWithinMs', faults) === 0)
    faults.push('requireProbeWithinMs must be above 0');
  if (faults.length > 0) throw new LocalFault('policy-invalid', `${place} cannot be used: ${faults.join('; ')}.`);
  return {
    version: 1,
    spawn,
    secrets,
    onRevoked,
    ...(typeof probeMs === 'number' ? { requireProbeWithinMs: probeMs } : {}),
    ...origins,
  };
}

const FIELDS = ['runtimes', 'repositories', 'tenants', 'concurrency', 'budgetMicroUsd', 'timeoutMs', 'sandboxes'];

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
