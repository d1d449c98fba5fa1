import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { parse } from 'yaml';
import { ROUTED_COMMANDS, type RoutedCommand } from '@capstan/identity';
import { LocalFault } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import { HubConfig } from '../hub.config.js';

export const ROUTING_FILE = 'routing.yaml';
const ANY = '*';

/** Who may order what, of whom, for which tenants; `*` stands for all. */
export interface RoutingRule {
  origin: string;
  verbs: readonly RoutedCommand[];
  targets: readonly string[];
  tenants: readonly string[];
}

/** The hub's word on whose commands it routes. Without the file: those of every operator, of no instance. */
export interface RoutingPolicy {
  operators: readonly RoutingRule[];
  instances: readonly RoutingRule[];
}

export const DEFAULT_ROUTING: RoutingPolicy = {
  operators: [{ origin: ANY, verbs: ROUTED_COMMANDS, targets: [ANY], tenants: [ANY] }],
  instances: [],
};

/** What is asked of the policy. */
export interface RoutingQuestion {
  kind: 'operator' | 'peer';
  origin: string;
  verb: RoutedCommand;
  target: string;
  tenant: string;
}

/** Whether a rule allows it. An operator's kill needs none: whoever has pinned the operator decides. */
export function mayRoute(policy: RoutingPolicy, asked: RoutingQuestion): boolean {
  if (asked.kind === 'operator' && asked.verb === 'kill') return true;
  const rules = asked.kind === 'operator' ? policy.operators : policy.instances;
  return rules.some(
    (rule) =>
      covers([rule.origin], asked.origin) &&
      rule.verbs.includes(asked.verb) &&
      covers(rule.targets, asked.target) &&
      covers(rule.tenants, asked.tenant),
  );
}

function covers(names: readonly string[], name: string): boolean {
  return names.includes(ANY) || names.includes(name);
}

/** @throws LocalFault `routing-policy` that names every fault at once */
export function parseRouting(text: string): RoutingPolicy {
  const faults: string[] = [];
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    throw unusable('it is no YAML', cause);
  }
  const { version, operators, instances, ...others } = (document ?? {}) as Record<string, unknown>;
  if (version !== 1) faults.push('version must be 1');
  for (const field of Object.keys(others)) faults.push(`there is no field "${field}"`);
  const policy: RoutingPolicy = {
    operators: operators === undefined ? DEFAULT_ROUTING.operators : rules(operators, 'operators', faults),
    instances: instances === undefined ? DEFAULT_ROUTING.instances : rules(instances, 'instances', faults),
  };
  if (faults.length > 0) throw unusable(faults.join('; '));
  return policy;
}

function unusable(why: string, cause?: unknown): LocalFault {
  return new LocalFault('routing-policy', `${ROUTING_FILE} cannot be used: ${why}.`, undefined, { cause });
}

function rules(value: unknown, name: string, faults: string[]): RoutingRule[] {
  if (Array.isArray(value)) return value.map((item: unknown, at) => rule(item, `${name}[${String(at)}]`, faults));
  faults.push(`${name} must be a list`);
  return [];
}

function rule(value: unknown, name: string, faults: string[]): RoutingRule {
  const { origin, verbs, targets, tenants, ...others } = (value ?? {}) as Record<string, unknown>;
  for (const field of Object.keys(others)) faults.push(`${name} has an unknown field "${field}"`);
  if (typeof origin !== 'string' || origin === '') faults.push(`${name}.origin must be an id or "*"`);
  const ordered = texts(verbs, `${name}.verbs`, faults);
  const known = ROUTED_COMMANDS.filter((verb) => ordered.includes(verb));
  if (known.length !== ordered.length) faults.push(`${name}.verbs must be of ${ROUTED_COMMANDS.join(', ')}`);
  return {
    origin: String(origin),
    verbs: known,
    targets: texts(targets, `${name}.targets`, faults),
    tenants: texts(tenants, `${name}.tenants`, faults),
  };
}

function texts(value: unknown, name: string, faults: string[]): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string' && item !== '')) return value as string[];
  faults.push(`${name} must be a list of texts`);
  return [];
}

/** The policy's file in the hub's state directory, read again when it has changed. */
@Injectable()
export class RoutingPolicyFile implements OnModuleInit {
  private readonly file: string;
  private loaded: { policy: RoutingPolicy; version: string } | undefined;

  constructor(config: HubConfig) {
    this.file = join(config.stateDirectory, ROUTING_FILE);
  }

  /** A file that cannot be used must be seen now, not at the first command. */
  async onModuleInit(): Promise<void> {
    await this.current();
  }

  /** @throws WireFault `policy-peer`; LocalFault `routing-policy`: without a readable policy nothing is routed but operators' kills */
  async check(asked: RoutingQuestion): Promise<void> {
    const isAlways = mayRoute({ operators: [], instances: [] }, asked);
    if (isAlways || mayRoute(await this.current(), asked)) return;
    throw new WireFault('policy-peer', `${asked.verb} by ${asked.origin} of ${asked.target} for ${asked.tenant}`);
  }

  /** Its state is asked for each command without a thread: 4 µs of CPU instead of a tenth of all that a command costs (measured). */
  private async current(): Promise<RoutingPolicy> {
    const found = statSync(this.file, { bigint: true, throwIfNoEntry: false });
    const version = found === undefined ? 'missing' : [found.ino, found.size, found.mtimeNs].join('/');
    if (this.loaded?.version !== version) this.loaded = { policy: await this.read(version), version };
    return this.loaded.policy;
  }

  private async read(version: string): Promise<RoutingPolicy> {
    return version === 'missing' ? DEFAULT_ROUTING : parseRouting(await readFile(this.file, 'utf8'));
  }
}
