import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One field of a message as its .proto file says it. */
export interface Field {
  name: string;
  number: number;
  /** `string`, `bytes`, `bool`, `uint32` …, or the name of a message or an enum. */
  type: string;
  isRepeated: boolean;
  /** Inside a oneof: told even where it is zero. */
  isOneof: boolean;
}

const FILES = join(import.meta.dirname, '../../../proto/capstan/v1');
const FIELD = /^(repeated )?([A-Za-z0-9_]+) ([a-z0-9_]+) = (\d+);$/;

/** Message → its fields; what stands in proto/ and nothing else. */
export const MESSAGES = new Map<string, Field[]>();
/** Enum value → number; the names are unique in the package. */
export const ENUM_VALUES = new Map<string, number>();
const ENUMS = new Set<string>();

for (const file of readdirSync(FILES).filter((name) => name.endsWith('.proto')))
  readProto(readFileSync(join(FILES, file), 'utf8'));

export function isEnum(type: string): boolean {
  return ENUMS.has(type);
}

function readProto(text: string): void {
  const open: { kind: string; name: string }[] = [];
  // A message of one line is two statements.
  for (const raw of text.replaceAll('{}', '{\n}').split('\n')) {
    const line = raw.replace(/\/\/.*$/, '').trim();
    const [, kind, name] = /^(message|enum|oneof) (\w+) \{$/.exec(line) ?? [];
    if (kind !== undefined && name !== undefined) {
      open.push({ kind, name });
      if (kind === 'message') MESSAGES.set(name, []);
      if (kind === 'enum') ENUMS.add(name);
    } else if (line === '}') open.pop();
    else if (open.at(-1)?.kind === 'enum') readValue(line);
    else if (open.length > 0) readField(line, open);
  }
}

function readValue(line: string): void {
  const [, name, number] = /^(\w+) = (\d+);$/.exec(line) ?? [];
  if (name !== undefined) ENUM_VALUES.set(name, Number(number));
}

function readField(line: string, open: readonly { kind: string; name: string }[]): void {
  const [, repeated, type, name, number] = FIELD.exec(line) ?? [];
  const message = open.findLast(({ kind }) => kind === 'message')?.name ?? '';
  if (type === undefined || name === undefined) return;
  const isOneof = open.at(-1)?.kind === 'oneof';
  MESSAGES.get(message)?.push({ name, number: Number(number), type, isRepeated: repeated !== undefined, isOneof });
}
