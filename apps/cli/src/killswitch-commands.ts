import type { Command } from 'commander';
import type { LocalKillOptions } from './commands/kill-local.js';
import type { ScopeOptions } from './commands/scope.js';
import type { Output } from './output/output.js';
import { withJson } from './with-json.js';

type ContextOf = () => { context?: string };

/** `capstan kill`: the way of kills itself. */
export function addKill(program: Command, output: Output, context: ContextOf): void {
  const command = withJson(program.command('kill'));
  command
    .description('kill by the reaper of an instance on this machine; or prove that a kill would reach the instances')
    .argument('[agent]', 'with --local: this agent')
    .option('--local <dir>', 'as the owner, straight to the reaper of the instance in this directory; never asks')
    .option('--task <id>', 'with --local: every agent of this task')
    .option('--tenant <id>', 'with --local: everything of this tenant here, and let nothing of it start')
    .option('--all', 'with --local: everything here, and let nothing start')
    .option('--probe', 'kill nothing: ask each reaper on the way that a kill takes')
    .option('--on <instance>', 'with --probe: this one only')
    .action(
      async (agent: string | undefined, options: LocalKillOptions & { probe?: true; on?: string; local?: string }) => {
        const { local, probe: _probe, on: _on, ...what } = options;
        if (local !== undefined)
          return (await import('./commands/kill-local.js')).killLocal(output, local, { ...what, agent });
        if (options.probe === undefined || agent !== undefined)
          return command.error(
            'error: to kill, say "capstan agents kill AGENT" or "capstan agents kill-all", or name your own instance with --local; to test, --probe',
          );
        return (await import('./commands/kill-probe.js')).probe(output, { ...context(), ...options });
      },
    );
}

/** `capstan agents kill-all` and `rearm`. */
export function addKillswitch(agents: Command, output: Output, context: ContextOf): void {
  scoped(withJson(agents.command('kill-all')))
    .description('kill every agent of a scope and let none start in it; never asks')
    .option('--token-file <file>', "the token of who orders it; default the context's")
    .action(async (options: ScopeOptions & { tokenFile?: string }) =>
      (await import('./commands/agents-kill-all.js')).killAll(output, { ...context(), ...options }),
    );
  scoped(withJson(agents.command('rearm')))
    .description('let agents start again in a scope, by another admin than the one who stopped it')
    .option('--token-file <file>', "that admin's token; default the context's")
    .option('--local <dir>', 'as the owner, straight to the reaper of the instance in this directory')
    .action(async ({ local, ...options }: ScopeOptions & { tokenFile?: string; local?: string }) => {
      const { rearm, rearmLocal } = await import('./commands/agents-rearm.js');
      if (local !== undefined) return rearmLocal(output, local, options);
      return rearm(output, { ...context(), ...options });
    });
}

function scoped(command: Command): Command {
  return command
    .option('--mesh', 'everything')
    .option('--instance <name>', 'one instance')
    .option('--tenant <id>', 'one tenant, everywhere')
    .option('--reason <text>', 'for the record');
}
