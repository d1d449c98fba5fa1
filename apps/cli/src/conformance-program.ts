import type { Command } from 'commander';
import type { Output } from './output/output.js';
import { withJson } from './with-json.js';

interface ConformanceOptions {
  hub?: string;
  invite?: string[];
  tokenFile?: string;
  spoke?: true;
  listen?: string;
  restartWith?: string;
  operator?: true;
  only?: string;
}

/** `capstan conformance`: a hostile peer against any implementation of the protocol. */
export function addConformance(program: Command, output: Output): void {
  const command = withJson(program.command('conformance'));
  command
    .description('attack a hub or a spoke from the wire, and compare what comes with docs/protocol.md')
    .option('--hub <url>', 'the hub to attack; needs --invite')
    .option('--invite <invitation...>', 'of that hub, approving by itself; several where there is no --token-file')
    .option('--token-file <file>', "an admin's token of that hub, for attacks on answers")
    .option('--spoke', 'play a hub, and attack the spoke that joins the invitation which is printed')
    .option('--listen <host:port>', 'where that hub listens; default 127.0.0.1 and any port')
    .option('--restart-with <program>', 'kills and starts the spoke, for attacks across a restart')
    .option('--operator', 'the owner of the spoke has pinned the operator that is printed')
    .option('--only <prefix>', 'attacks whose id begins so')
    .action(async (options: ConformanceOptions) => {
      const { hub, invite, spoke } = options;
      if ((hub === undefined || invite === undefined) === (spoke === undefined))
        return command.error('error: say either --hub with --invite, or --spoke');
      return (await import('./commands/conformance.js')).conformance(output, argsOf(options));
    });
}

function argsOf({ invite, spoke, operator, ...texts }: ConformanceOptions): string[] {
  const names = {
    hub: '--hub',
    tokenFile: '--token-file',
    listen: '--listen',
    restartWith: '--restart-with',
    only: '--only',
  };
  const given = Object.entries(names).flatMap(([name, option]) => {
    const value = texts[name as keyof typeof texts];
    return value === undefined ? [] : [option, value];
  });
  return [
    ...given,
    ...(invite ?? []).flatMap((each) => ['--invite', each]),
    ...(spoke === undefined ? [] : ['--spoke']),
    ...(operator === undefined ? [] : ['--operator']),
  ];
}
