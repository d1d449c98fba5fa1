import { readFile } from 'node:fs/promises';

/** What an agent is told; the orchestrator writes it to /run/capstan/task.json. */
export interface Task {
  agentId: string;
  taskId: string;
  role: string;
  /** `default` stands for the model that was ordered. */
  model: string;
  workItems: string[];
  skills: string[];
  limits: TaskLimits;
  /** The work tree. */
  repositoryDir: string;
  /** The owner's program that this agent is; absent: the loop that is built in. */
  program?: TaskProgram;
}

export interface TaskProgram {
  kind: 'command' | 'acp';
  /** Program and arguments. */
  run: string[];
  environment: Record<string, string>;
  /** Kinds of tool calls that the owner permits. */
  allow: string[];
  /** How often work that was sent back goes to it again. */
  mends: number;
}

export interface TaskLimits {
  /** Requests to the model. */
  iterations: number;
  /** Tokens in and out, over all requests. */
  tokens: number;
  /** Tokens that the model's context holds. */
  contextTokens: number;
  /** At so many of them the older part of the conversation gives way to a summary. */
  compactAtTokens: number;
  /** Milliseconds from the start of this program. */
  timeoutMs: number;
}

/** @throws Error that names the field that is missing or of the wrong type */
export async function readTask(file: string): Promise<Task> {
  const fields = objectAt('task', JSON.parse(await readFile(file, 'utf8')));
  const limits = objectAt('limits', fields['limits']);
  return {
    agentId: textAt(fields, 'agentId'),
    taskId: textAt(fields, 'taskId'),
    role: textAt(fields, 'role'),
    model: textAt(fields, 'model') || 'default',
    workItems: textsAt(fields, 'workItems'),
    skills: textsAt(fields, 'skills'),
    limits: {
      iterations: countAt(limits, 'iterations'),
      tokens: countAt(limits, 'tokens'),
      timeoutMs: countAt(limits, 'timeoutMs'),
      contextTokens: countAt(limits, 'contextTokens'),
      compactAtTokens: countAt(limits, 'compactAtTokens'),
    },
    repositoryDir: textAt(fields, 'repositoryDir'),
    ...(fields['program'] === undefined ? {} : { program: programAt(fields) }),
  };
}

function programAt(fields: Record<string, unknown>): TaskProgram {
  const program = objectAt('program', fields['program']);
  const entries = Object.entries(objectAt('environment', program['environment']));
  return {
    kind: textAt(program, 'kind') === 'acp' ? 'acp' : 'command',
    run: textsAt(program, 'run'),
    allow: textsAt(program, 'allow'),
    mends: Number(program['mends'] ?? 0),
    environment: Object.fromEntries(entries.map(([name, value]) => [name, String(value)])),
  };
}

function objectAt(name: string, value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error(`${name} is not an object`);
}

function textAt(fields: Record<string, unknown>, name: string): string {
  const value = fields[name];
  if (typeof value === 'string') return value;
  throw new Error(`${name} is not text`);
}

function textsAt(fields: Record<string, unknown>, name: string): string[] {
  const value = fields[name];
  if (Array.isArray(value) && value.every((each): each is string => typeof each === 'string')) return value;
  throw new Error(`${name} is not a list of text`);
}

function countAt(fields: Record<string, unknown>, name: string): number {
  const value = fields[name];
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
  throw new Error(`${name} is not a number above zero`);
}
