import { type Command, InvalidArgumentError } from 'commander';
import type { Output } from './output/output.js';
import { withJson } from './with-json.js';

type ContextOf = () => { context?: string };

/** `capstan operator`: people's own keys. */
export function addOperators(operator: Command, output: Output, context: ContextOf): void {
  withJson(operator.command('init'))
    .description('make a key of your own; its private half never leaves this machine')
    .argument('<id>', 'your name as an operator: op-…')
    .option('--key <file>', 'where the private half is kept; default ID.key here')
    .action(async (id: string, options: { key?: string }) =>
      (await import('./commands/operator.js')).initOperator(output, id, options),
    );
  withJson(operator.command('ls'))
    .description('operators whose commands the hub routes')
    .action(async () => (await import('./commands/operator.js')).listOperators(output, context()));
  withJson(operator.command('add'))
    .description('tell the hub of an operator, with proof that the key is held')
    .argument('<keyfile>')
    .option('--as <id>', 'operator id; default the one beside the key')
    .option('--name <text>', 'display name')
    .action(async (file: string, options: { as?: string; name?: string }) =>
      (await import('./commands/operator.js')).addOperator(output, file, { ...context(), ...options }),
    );
  withJson(operator.command('revoke'))
    .description('let the hub route nothing of an operator any longer')
    .argument('<id>')
    .action(async (id: string) => (await import('./commands/operator.js')).revokeOperator(output, id, context()));
  withJson(operator.command('pin'))
    .description('as the owner of an instance: believe this operator')
    .argument('<file>', "the operator's public half, KEYFILE.pub.json")
    .requiredOption('--dir <directory>', "the instance's directory")
    .action(async (file: string, options: { dir: string }) =>
      (await import('./commands/operator.js')).pinOperator(output, file, options),
    );
  withJson(operator.command('use'))
    .description('sign with this key wherever --sign names none')
    .argument('<keyfile>')
    .action(async (file: string) => (await import('./commands/operator.js')).useOperator(output, file, context()));
  withJson(operator.command('sign'))
    .description('sign a request without sending it, where the key is and no network')
    .argument('<request>', 'JSON: {"instance": …, "spawn" | "status" | "kill": {…}}')
    .requiredOption('--key <file>', 'your key')
    .option('--as <id>', 'operator id; default the one beside the key')
    .option('--expires <seconds>', 'until when it may be taken; default five minutes', seconds)
    .option('-o, --out <file>', 'where to; default this terminal')
    .action(async (file: string, options: { key: string; as?: string; expires?: number; out?: string }) =>
      (await import('./commands/operator.js')).signRequest(output, file, options),
    );
  withJson(operator.command('send'))
    .description('send what was signed elsewhere')
    .argument('<file>')
    .action(async (file: string) => (await import('./commands/operator.js')).sendSigned(output, file, context()));
}

/** `--sign`, `--as`, `--via` of the commands about agents. */
export function withOrigin(command: Command): Command {
  return command
    .option('--sign [keyfile]', 'sign it yourself; the hub only routes it')
    .option('--as <operator>', 'operator id; default the one beside the key')
    .option('--via <instance>', 'let an instance on this machine sign it; needs --on');
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(Number.isSafeInteger(value) && value > 0)) throw new InvalidArgumentError('A whole number above 0 is needed.');
  return value;
}
