import { parse } from 'yaml';

/** One tool call of a turn. Strings in the input may hold `{{name}}`: the result of an earlier call. */
export interface PlaybookCall {
  /** Name by which later turns take the result. */
  as: string;
  tool: string;
  input: Record<string, unknown>;
}

/** What the model says in one turn. A turn without calls ends the conversation's turn, as a model's would. */
export interface PlaybookTurn {
  when?: PlaybookCondition;
  say?: string;
  calls: PlaybookCall[];
}

/** All that is given must hold. */
export interface PlaybookCondition {
  /** Found in the text of the first message, which holds the task. */
  task?: RegExp;
  /** Found in what the user has said since, results aside. */
  heard?: RegExp;
  /** Calls whose last result was no error. */
  ok: string[];
  /** Calls whose last result was an error. */
  failed: string[];
  /** Found in the result of a call. */
  result: Record<string, RegExp>;
}

/** A conversation that is fixed in its course and not in its values. */
export interface Playbook {
  name: string;
  /** Each turn is the first of its alternatives whose condition holds. */
  turns: PlaybookTurn[][];
  /** What it says where it may call nothing: when it is asked to sum up. */
  summary: string;
  /** Every turn after the last. */
  otherwise: PlaybookTurn;
}

const NAME = /^[a-z][a-z0-9-]{0,39}$/;
const SUMMARY = 'So far everything has gone by the playbook.';
const THE_END: PlaybookTurn = { say: 'There is nothing left to do.', calls: [] };

/** @param name of the file, without its ending. @throws Error that names what is wrong */
export function parsePlaybook(name: string, yaml: string): Playbook {
  const at = new Place(`playbook ${name}`);
  const root = at.object(parse(yaml));
  at.only(root, ['version', 'about', 'turns', 'otherwise', 'summary']);
  if (root['version'] !== 1) throw at.fault('version must be 1');
  const turns = at.list(root['turns']).map((turn, index) => turnsAt(at.in(`turn ${String(index + 1)}`), turn));
  const otherwise = root['otherwise'] === undefined ? THE_END : turnAt(at.in('otherwise'), root['otherwise']);
  const summary = root['summary'] === undefined ? SUMMARY : at.text(root['summary']);
  return { name, turns, otherwise, summary };
}

/** Whether a string can name a playbook, and so a file. */
export function isPlaybookName(name: string): boolean {
  return NAME.test(name);
}

function turnsAt(at: Place, value: unknown): PlaybookTurn[] {
  const turn = at.object(value);
  if (turn['any'] === undefined) return [turnAt(at, turn)];
  at.only(turn, ['any']);
  return at.list(turn['any']).map((each) => turnAt(at, each));
}

function turnAt(at: Place, value: unknown): PlaybookTurn {
  const turn = at.object(value);
  at.only(turn, ['when', 'say', 'calls']);
  const calls = turn['calls'] === undefined ? [] : at.list(turn['calls']).map((call) => callAt(at, call));
  return {
    calls,
    ...(turn['say'] === undefined ? {} : { say: at.text(turn['say']) }),
    ...(turn['when'] === undefined ? {} : { when: conditionAt(at.in('when'), turn['when']) }),
  };
}

function callAt(at: Place, value: unknown): PlaybookCall {
  const call = at.object(value);
  at.only(call, ['as', 'tool', 'input']);
  const as = at.text(call['as'] ?? call['tool']);
  if (!NAME.test(as)) throw at.fault(`${as} cannot name a call`);
  return { as, tool: at.text(call['tool']), input: at.object(call['input'] ?? {}) };
}

function conditionAt(at: Place, value: unknown): PlaybookCondition {
  const when = at.object(value);
  at.only(when, ['task', 'heard', 'ok', 'failed', 'result']);
  const result = Object.entries(at.object(when['result'] ?? {})).map(([name, text]) => [
    name,
    new RegExp(at.text(text)),
  ]);
  return {
    ok: at.list(when['ok'] ?? []).map((name) => at.text(name)),
    failed: at.list(when['failed'] ?? []).map((name) => at.text(name)),
    result: Object.fromEntries(result) as Record<string, RegExp>,
    ...(when['task'] === undefined ? {} : { task: new RegExp(at.text(when['task'])) }),
    ...(when['heard'] === undefined ? {} : { heard: new RegExp(at.text(when['heard'])) }),
  };
}

/** Where in the file we are, for the fault that is found there. */
class Place {
  constructor(private readonly name: string) {}

  in(part: string): Place {
    return new Place(`${this.name}, ${part}`);
  }

  fault(what: string): Error {
    return new Error(`${this.name}: ${what}`);
  }

  object(value: unknown): Record<string, unknown> {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    throw this.fault('must be a mapping');
  }

  list(value: unknown): unknown[] {
    if (Array.isArray(value)) return value;
    throw this.fault('must be a list');
  }

  text(value: unknown): string {
    if (typeof value === 'string') return value;
    throw this.fault('must be text');
  }

  only(object: Record<string, unknown>, names: string[]): void {
    const stranger = Object.keys(object).find((name) => !names.includes(name));
    if (stranger !== undefined) throw this.fault(`${stranger} means nothing here`);
  }
}
