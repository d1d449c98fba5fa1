import { Command, InvalidArgumentError, Option } from 'commander';
import type { SpawnOptions } from './commands/agents-spawn.js';
import type { UpOptions } from './commands/up.js';
import type { Output } from './output/output.js';

export const VERSION = '0.1.0';
const EXIT_CODES =
  'Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 denied, 5 conflict, 6 gate failed, 7 timeout, 8 unreachable, 130 interrupted.';

const NPM_START = `"npm start" installs what is missing, builds, and runs "capstan up --demo"; its options go after "--":
  npm start -- --repo PATH_OR_URL
  npm start --silent -- --once --json    (--silent keeps npm's own lines off stdout)`;

/** Every command with its options; each loads its code when it runs. */
export function buildProgram(output: Output): Command {
  const program = new Command('capstan')
    .description('A federated mesh for AI coding agents: signed commands, sandboxed agents, proven kills.')
    .version(VERSION)
    .option('--context <file>', 'the mesh to talk to; default CAPSTAN_CONTEXT, else the one of this checkout')
    .addHelpText('after', `\n${EXIT_CODES}`)
    .exitOverride()
    .configureOutput({ writeErr: (text) => output.note(text.trimEnd()) });
  const context = (): { context?: string } => program.opts<{ context?: string }>();
  addMesh(program, output, context);
  addAgents(program.command('agents').description('spawn agents, look at them, kill them'), output, context);
  addSpokes(program.command('spoke').description('enrol instances'), output, context);
  withJson(program.command('verify'))
    .description('check a receipt offline, with pinned keys only')
    .argument('<file>', 'a receipt that Capstan wrote')
    .option('--trust <file>', 'pinned keys; default those of the context')
    .action(async (file: string, options: { trust?: string }) =>
      (await import('./commands/verify.js')).verify(output, file, { ...context(), ...options }),
    );
  return program;
}

type ContextOf = () => { context?: string };

function addMesh(program: Command, output: Output, context: ContextOf): void {
  withJson(program.command('up'))
    .description('start a mesh on this machine and stay until Ctrl-C')
    .option('--demo', 'run a first agent, kill a second one, and show what happened')
    .option('--once', 'end after the demo instead of staying')
    .option('--repo <path-or-url>', 'repository that the first agent works on; default this checkout')
    .option('--scripted', 'play a playbook instead of asking a model')
    .option('--yes', 'do not ask before money is spent or repository text leaves this machine')
    .option('--instances <names>', 'names of the instances', listOf, ['harbor', 'quay'])
    .option('--port <port>', 'port of the hub; 0 for any', port, 7400)
    .option('--state <dir>', 'where everything is kept')
    .addHelpText('after', `\n${NPM_START}`)
    .action(async (options: UpOptions) => (await import('./commands/up.js')).up(output, options));
  withJson(program.command('down'))
    .description('end the mesh that runs on this machine')
    .option('--state <dir>', 'where everything is kept')
    .action(async (options: { state?: string }) => (await import('./commands/down.js')).down(output, options));
  withJson(program.command('status'))
    .description('the hub, its instances and its agents')
    .action(async () => (await import('./commands/status.js')).status(output, context()));
}

function addAgents(agents: Command, output: Output, context: ContextOf): void {
  withJson(agents.command('spawn'))
    .description('run a coding agent on an instance')
    .argument('<instance>')
    .requiredOption('--repo <path-or-url>', "repository, as the instance's policy names it")
    .requiredOption('--item <text>', 'what is to be done; may be repeated', collect)
    .option('--branch <name>', "branch to start from; default the repository's own")
    .option('--task <id>', 'task id; names the branch of the result')
    .addOption(new Option('--type <type>').choices(['worker', 'reviewer', 'tester']).default('worker'))
    .option('--runtime <name>', 'runtime that the instance offers', 'claude')
    .option('--tenant <id>', 'tenant', 'default')
    .option('--model <id>', "model; default the instance's")
    .option('--playbook <name>', 'playbook of the scripted provider')
    .option('--budget <usd>', 'most that the agent may spend, US dollars', positive)
    .option('--timeout <seconds>', 'longest run', positive)
    .option('--priority <n>', '1 to 10, 10 is most urgent', positive)
    .option('--wait', 'wait until the agent has ended')
    .action(async (instance: string, options: SpawnOptions) =>
      (await import('./commands/agents-spawn.js')).spawn(output, instance, { ...context(), ...options }),
    );
  withJson(agents.command('ls'))
    .description('agents as last reported')
    .action(async () => (await import('./commands/agents-ls.js')).list(output, context()));
  withJson(agents.command('status'))
    .description('ask the instance, and check its signed answer')
    .argument('<agent>')
    .option('--save <file>', 'keep the receipt')
    .action(async (id: string, options: { save?: string }) =>
      (await import('./commands/agents-status.js')).agentStatus(output, id, { ...context(), ...options }),
    );
  withJson(agents.command('logs'))
    .description('what an agent printed')
    .argument('<agent>')
    .option('--after <sequence>', 'lines after this one', whole)
    .option('--limit <n>', 'at most so many lines', whole, 200)
    .action(async (id: string, options: { after?: number; limit: number }) =>
      (await import('./commands/agents-logs.js')).logs(output, id, { ...context(), ...options }),
    );
  withJson(agents.command('kill'))
    .description('kill an agent; says "killed" only once its death was observed, and never asks')
    .argument('<agent>')
    .option('--reason <text>', 'for the record')
    .option('--instance <name>', 'where it runs, should the hub not know')
    .option('--save <file>', 'keep the receipt')
    .action(async (id: string, options: { reason?: string; instance?: string; save?: string }) =>
      (await import('./commands/agents-kill.js')).kill(output, id, { ...context(), ...options }),
    );
}

function addSpokes(spoke: Command, output: Output, context: ContextOf): void {
  withJson(spoke.command('ls'))
    .description('connections of the hub')
    .action(async () => (await import('./commands/spoke.js')).listSpokes(output, context()));
  withJson(spoke.command('invite'))
    .description('make an invitation for one instance, good for 15 minutes at most')
    .option('--auto-approve', 'admit it without asking again')
    .option('--ttl <seconds>', 'how long it is good', whole)
    .option('--name <text>', 'display name')
    .action(async (options: { autoApprove?: true; ttl?: number; name?: string }) =>
      (await import('./commands/spoke.js')).invite(output, { ...context(), ...options }),
    );
  withJson(spoke.command('approve'))
    .description('admit an instance that asked to join')
    .argument('<connection>')
    .action(async (id: string) => (await import('./commands/spoke.js')).approve(output, id, context()));
  withJson(spoke.command('join'))
    .description('enrol an instance on this machine with an invitation')
    .argument('<invitation>')
    .requiredOption('--dir <directory>', "the instance's directory")
    .option('--name <id>', "the instance's id; default the directory's name")
    .action(async (invitation: string, options: { dir: string; name?: string }) =>
      (await import('./commands/spoke.js')).join(output, invitation, options),
    );
}

function withJson(command: Command): Command {
  return command.option('--json', 'exactly one JSON object on stdout');
}

function listOf(text: string): string[] {
  return text.split(',').map((name) => name.trim());
}

function collect(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text];
}

function port(text: string): number {
  const value = whole(text);
  if (value > 65535) throw new InvalidArgumentError('A port is at most 65535.');
  return value;
}

function whole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('A whole number is needed.');
  return Number(text);
}

function positive(text: string): number {
  const value = Number(text);
  if (!(Number.isFinite(value) && value > 0)) throw new InvalidArgumentError('A number above 0 is needed.');
  return value;
}
