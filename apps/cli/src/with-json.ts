import type { Command } from 'commander';

export function withJson(command: Command): Command {
  return command.option('--json', 'exactly one JSON object on stdout');
}
