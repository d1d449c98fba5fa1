import { propertiesOf, type Property } from './declarations.ts';
import { type Section, table } from './section.ts';

const ROOT = new URL('../../', import.meta.url);

const ENVIRONMENTS = [
  { name: 'hub', file: 'apps/hub/src/hub.config.ts', shape: 'HubEnvironment' },
  { name: 'spoke', file: 'apps/spoke/src/config/spoke.config.ts', shape: 'SpokeEnvironment' },
  { name: 'orchestrator', file: 'apps/orchestrator/src/config/environment.ts', shape: 'Environment' },
];

const POLICY = 'libs/platform/src/policy';
const POLICIES = [
  { name: 'policy', file: `${POLICY}/owner-policy.ts`, shape: 'OwnerPolicy' },
  { name: 'origins', file: `${POLICY}/origin-policy.ts`, shape: 'OriginPolicy' },
  { name: 'spawn', file: `${POLICY}/owner-policy.ts`, shape: 'SpawnPolicy' },
  { name: 'stall', file: `${POLICY}/owner-policy.ts`, shape: 'StallPolicy' },
  { name: 'compaction', file: `${POLICY}/compaction-policy.ts`, shape: 'CompactionPolicy' },
  { name: 'programs', file: `${POLICY}/program-policy.ts`, shape: 'ProgramPolicy' },
  { name: 'author', file: `${POLICY}/commit-author.ts`, shape: 'AuthorPolicy' },
  { name: 'allowances', file: `${POLICY}/secret-scan-policy.ts`, shape: 'SecretAllowance' },
  { name: 'peers', file: `${POLICY}/origin-policy.ts`, shape: 'PeerRule' },
];

/** The tables of docs/reference, from the classes and interfaces that the code reads its configuration into. */
export function configuration(): Section[] {
  return [
    ...ENVIRONMENTS.map(({ name, file, shape }) => {
      const rows = propertiesOf(new URL(file, ROOT), shape).map(variableRow);
      const content = table(['variable', 'values', 'default', 'meaning'], rows);
      return { page: 'docs/reference/environment.md', name, content };
    }),
    ...POLICIES.map(({ name, file, shape }) => {
      const rows = propertiesOf(new URL(file, ROOT), shape).map((field) => {
        if (field.doc === '') throw new Error(`${shape}.${field.name} says nothing about itself`);
        return [`\`${field.name}\``, kindOf(field.type), field.doc];
      });
      return { page: 'docs/reference/policy.md', name, content: table(['field', 'type', 'meaning'], rows) };
    }),
  ];
}

/** What a type is in YAML. */
function kindOf(type: string): string {
  if (type.endsWith('[]')) return type.endsWith('string[]') ? 'list of texts' : 'list';
  const words: Readonly<Record<string, string>> = { number: 'whole number', string: 'text' };
  if (type.endsWith('Policy') || type.startsWith('Readonly<Record')) return 'mapping';
  return words[type] ?? (/^[A-Z]/.test(type) ? 'word' : `\`${type}\``);
}

function variableRow(variable: Property): string[] {
  if (variable.doc === '') throw new Error(`${variable.name} says nothing about itself`);
  return [`\`${variable.name}\``, valuesOf(variable), defaultOf(variable), variable.doc];
}

function valuesOf({ decorators, type }: Property): string {
  const among = decorators.get('IsIn')?.[0];
  if (among !== undefined) return among.replace(/^\[|\]$/g, '').replaceAll("'", '`');
  const [least, most] = ['Min', 'Max'].map((name) => decorators.get(name)?.[0]);
  if (least !== undefined) return plain(most === undefined ? `from ${least}` : `${least} to ${most}`);
  if (type === 'boolean') return '`true`, `false`';
  return type === 'number' ? 'a number' : 'text';
}

/** A variable without a default, or with an empty one, must be set unless it is marked as optional. */
function defaultOf({ decorators, initial }: Property): string {
  if (decorators.has('IsOptional')) return '–';
  if (initial === undefined || initial === "''") return '**required**';
  return `\`${plain(initial.replaceAll("'", ''))}\``;
}

/** Numbers without the marks that only code bears. */
function plain(text: string): string {
  return text.replace(/(?<=\d)_(?=\d)/g, '');
}
