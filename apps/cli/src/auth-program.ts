import type { Command } from 'commander';
import type { Output } from './output/output.js';
import { withJson } from './with-json.js';

/** `capstan auth token`: who may speak to the hub's API. */
export function addAuth(program: Command, output: Output, context: () => { context?: string }): void {
  const auth = program.command('auth').description("who may speak to the hub's API");
  const token = auth.command('token').description('one token for each admin, so that the record says who ordered what');
  withJson(token.command('create'))
    .description('make a token for another admin; it opens all of the API, and is told once')
    .argument('<name>', 'whose it is: [a-z0-9-]{1,63}')
    .option('-o, --out <file>', 'a new file for it, readable by you alone; default this terminal')
    .action(async (name: string, options: { out?: string }) =>
      (await import('./commands/auth-token.js')).createToken(output, name, { ...context(), ...options }),
    );
  withJson(token.command('ls'))
    .description('names of the tokens that open the API; never the tokens')
    .action(async () => (await import('./commands/auth-token.js')).listTokens(output, context()));
  withJson(token.command('revoke'))
    .description('take a token back: it opens nothing from now on')
    .argument('<name>')
    .action(async (name: string) => (await import('./commands/auth-token.js')).revokeToken(output, name, context()));
}
