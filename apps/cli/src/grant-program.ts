import { type Command, InvalidArgumentError, Option } from 'commander';
import type { GrantOptions } from './commands/grant.js';
import type { SealOptions } from './commands/secrets-seal.js';
import type { Output } from './output/output.js';

type ContextOf = () => { context?: string };
const JSON_OPTION = ['--json', 'exactly one JSON object on stdout'] as const;
const VERBS = ['agent.spawn', 'agent.status', 'agent.kill'];

/** Delegation of what an operator may order, and secrets that only one instance can read. */
export function addGrants(program: Command, output: Output, context: ContextOf): void {
  const grant = program.command('grant').description('let somebody else order a part of what you may');
  grant
    .command('create')
    .description('sign a grant; it can only narrow what the grantor may')
    .option('--key <file>', "your operator key; default the context's")
    .option('--as <id>', 'your operator id, where the key’s own file does not say it')
    .requiredOption('--to <id>', 'who may order')
    .requiredOption('--to-key <hex-or-file>', 'his public key')
    .addOption(new Option('--verb <kind>', 'may be repeated').choices(VERBS).argParser(verb).makeOptionMandatory())
    .option('--on <instance>', 'may be repeated; * for all that the grantor may', collect)
    .option('--tenant <id>', 'may be repeated; default "default"', collect)
    .option('--repo <rule>', 'path or URL, or a prefix that ends in /*; may be repeated', collect)
    .option('--budget <usd>', 'of all its spawns on one instance together, US dollars', amount, 0)
    .option('--expires <seconds>', 'how long it holds; default a day, or as long as the one it stands on', amount)
    .option('--depth <n>', 'how many further grants may follow, 0 to 2', whole, 0)
    .option('--parent <file>', 'the chain that it stands on; what is not named stays as it is there')
    .requiredOption('--out <file>', 'where the chain is written')
    .option(...JSON_OPTION)
    .action(async (options: GrantOptions) =>
      (await import('./commands/grant.js')).createGrant(output, { ...context(), ...options }),
    );
  grant
    .command('show')
    .description('what a chain of grants says')
    .argument('<file>')
    .option(...JSON_OPTION)
    .action(async (file: string) => (await import('./commands/grant.js')).showGrant(output, file));
  program
    .command('secrets')
    .description('secrets that only one instance can read')
    .command('seal')
    .description('seal what comes on standard input')
    .requiredOption('--for <instance>', 'the instance that is to open it')
    .requiredOption('--agent <id>', 'the only agent that may have it')
    .requiredOption('--name <name>', 'environment variable of the agent')
    .option('--key <file>', "your operator key, default the context's; the spawn must be signed with the same")
    .option('--as <id>', 'your operator id, where the key’s own file does not say it')
    .option('--expires <seconds>', 'until when a spawn may bring it; default ten minutes', amount)
    .option(...JSON_OPTION)
    .action(async (options: SealOptions) =>
      (await import('./commands/secrets-seal.js')).seal(output, { ...context(), ...options }),
    );
}

function collect(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text];
}

function verb(text: string, before: string[] | undefined): string[] {
  if (!VERBS.includes(text)) throw new InvalidArgumentError(`One of ${VERBS.join(', ')}.`);
  return collect(text, before);
}

function amount(text: string): number {
  const value = Number(text);
  if (!(Number.isFinite(value) && value > 0)) throw new InvalidArgumentError('A number above 0 is needed.');
  return value;
}

function whole(text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw new InvalidArgumentError('A whole number is needed.');
  return Number(text);
}
