import { isAbsolute } from 'node:path';

/** A program of the owner's that agents may be, each under the name by which a spawn asks for it. */
export interface ProgramPolicy {
  /** How it is spoken to: `command` gets the task on its standard input; `acp` speaks the Agent Client Protocol there. */
  kind: ProgramKind;
  /** Directory of the host that every such agent sees, read-only, at /opt/program. A copy of it is mounted, not itself. */
  directory?: string;
  /** Program and arguments, as paths inside the sandbox; /opt/capstan/node is there. Nothing of a spawn gets in here. */
  run: readonly string[];
  /** Further environment. */
  environment: Readonly<Record<string, string>>;
  /** Only `acp`: kinds of tool calls for which the agent gets permission when it asks (`read`, `edit`, `execute` …); none unless told. */
  allow: readonly string[];
  /** How often work that was sent back (a secret, a conflict, a gate) goes to it again, with the reasons: 0 to 10; 2 unless told. */
  mends: number;
}

export type ProgramKind = 'command' | 'acp';

/** By the name that a spawn gives as its runtime. */
export type ProgramsPolicy = Readonly<Record<string, ProgramPolicy>>;

const NAME = /^[a-z][a-z0-9-]{0,39}$/;
/** Runtimes that are built in. */
const TAKEN: readonly string[] = ['claude'];
/** Of tool calls in the Agent Client Protocol. */
const KINDS: readonly string[] = [
  ...['read', 'edit', 'delete', 'move', 'search', 'execute', 'think', 'fetch', 'switch_mode', 'other'],
];
const DEFAULT_MENDS = 2;
const MOST_MENDS = 10;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** What the sandbox and the way to the model depend on. */
const OURS = /^(?:PATH|HOME|TMPDIR|ANTHROPIC_BASE_URL|ANTHROPIC_API_KEY|GIT_.*|LD_.*|CAPSTAN_.*)$/;

/** Reads `programs` of a policy file; it may be absent. Faults are added to `faults`. */
export function parsePrograms(value: unknown, faults: string[]): ProgramsPolicy {
  if (value === undefined) return {};
  if (!isMapping(value)) {
    faults.push('programs must be a mapping');
    return {};
  }
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, programOf(name, each, faults)]));
}

function programOf(name: string, value: unknown, faults: string[]): ProgramPolicy {
  const at = `programs.${name}`;
  if (!NAME.test(name) || TAKEN.includes(name)) faults.push(`${at} cannot be the name of a program`);
  const {
    kind,
    directory,
    run,
    environment = {},
    allow = [],
    mends = DEFAULT_MENDS,
    ...others
  } = isMapping(value) ? value : {};
  for (const field of Object.keys(others)) faults.push(`${at} has an unknown field "${field}"`);
  if (kind !== 'command' && kind !== 'acp') faults.push(`${at}.kind must be command or acp`);
  const allowed = Array.isArray(allow) && allow.every((it) => KINDS.includes(it as string)) ? (allow as string[]) : [];
  if (allowed !== allow && !(Array.isArray(allow) && allow.length === 0))
    faults.push(`${at}.allow must be a list of ${KINDS.join(', ')}`);
  if (kind === 'command' && allowed.length > 0) faults.push(`${at}.allow is for acp: a command asks nobody`);
  const isCount = typeof mends === 'number' && Number.isSafeInteger(mends) && mends >= 0 && mends <= MOST_MENDS;
  if (!isCount) faults.push(`${at}.mends must be a whole number from 0 to ${String(MOST_MENDS)}`);
  if (directory !== undefined && !(typeof directory === 'string' && isAbsolute(directory)))
    faults.push(`${at}.directory must be an absolute path`);
  return {
    kind: kind === 'acp' ? 'acp' : 'command',
    allow: allowed,
    mends: isCount ? mends : DEFAULT_MENDS,
    run: runOf(run, at, faults),
    environment: environmentOf(environment, at, faults),
    ...(typeof directory === 'string' ? { directory } : {}),
  };
}

function runOf(value: unknown, at: string, faults: string[]): string[] {
  const isText = (it: unknown): it is string => typeof it === 'string' && !it.includes('\0');
  if (Array.isArray(value) && value.every(isText) && isAbsolute(value[0] ?? '')) return value;
  faults.push(`${at}.run must be a list of texts that begins with an absolute path`);
  return [];
}

function environmentOf(value: unknown, at: string, faults: string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, text] of Object.entries(isMapping(value) ? value : { '': value })) {
    if (VARIABLE.test(name) && !OURS.test(name) && typeof text === 'string') found[name] = text;
    else faults.push(`${at}.environment: ${name} cannot be set, or is no text`);
  }
  return found;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
