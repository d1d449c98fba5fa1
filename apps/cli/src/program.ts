import { Command, InvalidArgumentError, Option } from 'commander';
import type { KillOptions } from './commands/agents-kill.js';
import type { SalvageOptions } from './commands/agents-salvage.js';
import type { SpawnOptions } from './commands/agents-spawn.js';
import type { UpOptions } from './commands/up.js';
import { addAuth } from './auth-program.js';
import { addConformance } from './conformance-program.js';
import { addGrants } from './grant-program.js';
import { addKeys } from './key-program.js';
import { addKill, addKillswitch } from './killswitch-commands.js';
import { addOperators, withOrigin } from './operator-program.js';
import { addQueue } from './queue-program.js';
import type { SignOptions } from './operators/operator-key.js';
import type { Output } from './output/output.js';
import { withJson } from './with-json.js';

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
  addKill(program, output, context);
  addAgents(program.command('agents').description('spawn agents, look at them, kill them'), output, context);
  addQueue(program, output);
  const spoke = program.command('spoke').description('enrol instances');
  addSpokes(spoke, output, context);
  addKeys(program, spoke, output, context, duration);
  addAudit(program.command('audit').description('the record of what was ordered, decided and done'), output, context);
  addAuth(program, output, context);
  addGrants(program, output, context);
  addConformance(program, output);
  addOperators(program.command('operator').description("operators' own keys"), output, context);
  withJson(program.command('verify'))
    .description('check a receipt, or a part of an audit log, offline and with pinned keys only')
    .argument('<file>', 'what Capstan wrote: a receipt, or an audit export')
    .option('--trust <file>', 'pinned keys; default those of the context')
    .option('--witness <file>', 'heads of the log that the other side kept: "capstan audit heads"')
    .action(async (file: string, options: { trust?: string; witness?: string }) =>
      (await import('./commands/verify.js')).verify(output, file, { ...context(), ...options }),
    );
  return program;
}

type ContextOf = () => { context?: string };

function addAudit(audit: Command, output: Output, context: ContextOf): void {
  withJson(audit.command('ls'))
    .description("a page of the hub's record")
    .option('--after <sequence>', 'entries after this one', whole)
    .option('--limit <n>', 'at most so many entries', whole, 100)
    .action(async (options: { after?: number; limit: number }) =>
      (await import('./commands/audit.js')).listAudit(output, { ...context(), ...options }),
    );
  withJson(audit.command('export'))
    .description('write entries with what proves them, for "capstan verify"')
    .option('--from <sequence>', 'first entry; default 1', whole)
    .option('--to <sequence>', 'last entry; default the last', whole)
    .option('--local <dir>', "an instance's own log instead of the hub's")
    .option('-o, --out <file>', 'where to', 'capstan-audit.jsonl')
    .action(async (options: { from?: number; to?: number; local?: string; out: string }) =>
      (await import('./commands/audit.js')).exportAudit(output, { ...context(), ...options }),
    );
  withJson(audit.command('heads'))
    .description('write the heads that one side keeps of the other: a witness for "capstan verify"')
    .argument('[instance]', 'of whose log; the hub keeps them')
    .option('--local <dir>', "an instance's directory: the heads of its hub's log")
    .option('-o, --out <file>', 'where to', 'capstan-heads.jsonl')
    .action(async (instance: string | undefined, options: { local?: string; out: string }) =>
      (await import('./commands/audit.js')).exportHeads(output, instance, { ...context(), ...options }),
    );
  withJson(audit.command('accept'))
    .description("take an instance's log as it is now, once you know why it contradicts the one before")
    .argument('<instance>')
    .action(async (instance: string) => (await import('./commands/audit.js')).acceptLog(output, instance, context()));
}

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
    .addOption(new Option('--sandbox <driver>', 'what agents run in').choices(['bubblewrap', 'docker']))
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
  program
    .command('events')
    .description('what happens to agents, commands, receipts and connections, until Ctrl-C')
    .option('--json', 'one JSON object in each line')
    .option('--after <cursor>', 'from behind this event on; 0 for the beginning', whole)
    .action(async (options: { after?: number }) =>
      (await import('./commands/events.js')).events(output, { ...context(), ...options }),
    );
}

function addAgents(agents: Command, output: Output, context: ContextOf): void {
  const spawn = withOrigin(withJson(agents.command('spawn')));
  spawn
    .description('run a coding agent on an instance')
    .argument('[instance]')
    .option('--on <instance>', 'the same')
    .option('--grant <file>', 'chain of grants under which you order; needs --sign')
    .option('--secret <name>', 'environment variable to seal for the agent; may be repeated; needs --sign', collect)
    .requiredOption('--repo <path-or-url>', "repository, as the instance's policy names it")
    .requiredOption('--item <text>', 'what is to be done; may be repeated', collect)
    .option('--branch <name>', "branch to start from; default the repository's own")
    .option('--task <id>', 'task id; names the branch of the result')
    .addOption(new Option('--type <type>').choices(['worker', 'reviewer', 'tester']).default('worker'))
    .option('--runtime <name>', 'runtime that the instance offers', 'claude')
    .addOption(
      new Option('--sandbox <driver>', "what it runs in; default the first that the instance's owner names").choices([
        'bubblewrap',
        'docker',
      ]),
    )
    .option('--tenant <id>', 'tenant', 'default')
    .option('--model <id>', "model; default the instance's")
    .option('--playbook <name>', 'playbook of the scripted provider')
    .option('--budget <usd>', 'most that the agent may spend, US dollars', positive)
    .option('--timeout <seconds>', 'longest run', positive)
    .option('--priority <n>', '1 to 10, 10 is most urgent', positive)
    .addOption(
      new Option('--kill-after <time>', 'kill it once its instance has not heard the hub for so long; default 5m')
        .argParser(duration)
        .conflicts('keep'),
    )
    .option('--keep', 'let it live on when its instance cannot hear the hub')
    .option('--wait', 'wait until the agent has ended')
    .action(
      async (named: string | undefined, { on, via, ...options }: SpawnOptions & { on?: string; via?: string }) => {
        const instance = named ?? on;
        if (instance === undefined) return spawn.error('error: say on which instance');
        if (via !== undefined)
          return (await import('./commands/agents-via.js')).spawnVia(output, instance, {
            ...context(),
            ...options,
            via,
          });
        return (await import('./commands/agents-spawn.js')).spawn(output, instance, { ...context(), ...options });
      },
    );
  withJson(agents.command('ls'))
    .description('agents as last reported')
    .option('--live', 'as the instance knows them now; needs --on')
    .option('--on <instance>', 'of this instance only')
    .action(async (options: { live?: true; on?: string }) => {
      if (options.live === undefined)
        await (await import('./commands/agents-ls.js')).list(output, { ...context(), ...options });
      else await (await import('./commands/agents-live.js')).listLive(output, options.on, context());
    });
  withOrigin(withJson(agents.command('status')))
    .description('ask the instance, and check its signed answer')
    .argument('<agent>')
    .option('--on <instance>', 'where it runs, should the hub not be asked')
    .option('--save <file>', 'keep the receipt')
    .action(async (id: string, { via, ...options }: SignOptions & { save?: string; on?: string; via?: string }) =>
      via === undefined
        ? (await import('./commands/agents-status.js')).agentStatus(output, id, { ...context(), ...options })
        : (await import('./commands/agents-via.js')).statusVia(output, id, { ...context(), ...options, via }),
    );
  withJson(agents.command('salvage'))
    .description('unfinished work that an instance on this machine keeps: list it, look at it, have it as a branch')
    .argument('[agent]')
    .requiredOption('--local <dir>', 'the directory of the instance')
    .option('--into <repository>', 'fetch it into this repository, as the branch salvage/AGENT')
    .option('--drop', 'keep it no longer')
    .action(async (id: string | undefined, { local, ...options }: SalvageOptions & { local: string }) =>
      (await import('./commands/agents-salvage.js')).salvage(output, local, id, options),
    );
  withJson(agents.command('message'))
    .description('tell a running agent of an instance on this machine something; it takes it up before its next turn')
    .argument('<agent>')
    .argument(
      '<text>',
      '- for what comes on standard input: arguments stand in the process list and the history of the shell',
    )
    .requiredOption('--local <dir>', 'the directory of the instance')
    .action(async (id: string, text: string, { local }: { local: string }) =>
      (await import('./commands/agents-message.js')).message(output, local, id, text),
    );
  withJson(agents.command('logs'))
    .description('what an agent printed')
    .argument('<agent>')
    .option('--after <sequence>', 'lines after this one', whole)
    .option('--limit <n>', 'at most so many lines', whole, 200)
    .option('--follow', 'go on as it grows, until the agent has ended; with --json one object in each line')
    .action(async (id: string, { follow, ...options }: { after?: number; limit: number; follow?: true }) =>
      follow === undefined
        ? (await import('./commands/agents-logs.js')).logs(output, id, { ...context(), ...options })
        : (await import('./commands/agents-follow.js')).follow(output, id, { ...context(), ...options }),
    );
  withOrigin(withJson(agents.command('kill')))
    .description('kill an agent; says "killed" only once its death was observed, and never asks')
    .argument('<agent>')
    .option('--reason <text>', 'for the record')
    .option('--instance <name>', 'where it runs, should the hub not know')
    .option('--on <name>', 'the same')
    .option('--save <file>', 'keep the receipt')
    .action(async (id: string, { via, on, ...options }: KillOptions & { on?: string; via?: string }) => {
      const instance = options.instance ?? on;
      const place = instance === undefined ? {} : { instance, on: instance };
      return via === undefined
        ? (await import('./commands/agents-kill.js')).kill(output, id, { ...context(), ...options, ...place })
        : (await import('./commands/agents-via.js')).killVia(output, id, { ...context(), ...options, ...place, via });
    });
  addKillswitch(agents, output, context);
}

function addSpokes(spoke: Command, output: Output, context: ContextOf): void {
  withJson(spoke.command('ls'))
    .description('connections of the hub')
    .action(async () => (await import('./commands/spoke.js')).listSpokes(output, context()));
  withJson(spoke.command('catalog'))
    .description('what an instance offers, asked now')
    .argument('<instance>')
    .action(async (instance: string) =>
      (await import('./commands/spoke-catalog.js')).catalog(output, instance, context()),
    );
  withJson(spoke.command('invite'))
    .description('make an invitation for one instance, good for 15 minutes at most')
    .option('--auto-approve', 'admit it without asking again')
    .option('--ttl <seconds>', 'how long it is good', whole)
    .option('--name <text>', 'display name')
    .action(async (options: { autoApprove?: true; ttl?: number; name?: string }) =>
      (await import('./commands/spoke.js')).invite(output, { ...context(), ...options }),
    );
  addMoves(spoke, output, context);
  withJson(spoke.command('join'))
    .description('enrol an instance on this machine with an invitation')
    .argument('<invitation>')
    .requiredOption('--dir <directory>', "the instance's directory")
    .option('--name <id>', "the instance's id; default the directory's name")
    .option('--again', 'although it belongs to a hub already: after a disconnect, or to change the hub')
    .option('--root-key <file>', 'the public half of the root key that may recover its identity')
    .action(async (invitation: string, options: { dir: string; name?: string; again?: true; rootKey?: string }) =>
      (await import('./commands/spoke.js')).join(output, invitation, options),
    );
}

function addMoves(spoke: Command, output: Output, context: ContextOf): void {
  const ADMIN = [
    ['approve', 'admit an instance that asked to join'],
    ['revoke', 'shut an instance and its keys out for ever'],
  ] as const;
  const EITHER = [
    ['suspend', 'let nothing through but kills and probes'],
    ['resume', 'lift your own suspension'],
    ['disconnect', 'end the connection; the instance enrols again to return'],
  ] as const;
  for (const [verb, description] of ADMIN) {
    withJson(spoke.command(verb))
      .description(description)
      .argument('<connection>', 'its id, or the name of its instance')
      .option('--reason <text>', 'for the record')
      .action(async (name: string, options: { reason?: string }) =>
        (await import('./commands/spoke-moves.js')).moveSpoke(output, verb, name, { ...context(), ...options }),
      );
  }
  for (const [verb, description] of EITHER) {
    const command = withJson(spoke.command(verb));
    command
      .description(description)
      .argument('[connection]', 'its id, or the name of its instance')
      .option('--reason <text>', 'for the record')
      .option('--local <dir>', 'as the owner, by the spoke of the instance in this directory')
      .action(async (name: string | undefined, { local, ...options }: { reason?: string; local?: string }) => {
        const { moveOwnSpoke, moveSpoke } = await import('./commands/spoke-moves.js');
        if (local !== undefined && name === undefined) return moveOwnSpoke(output, verb, local, options);
        if (local === undefined && name !== undefined)
          return moveSpoke(output, verb, name, { ...context(), ...options });
        return command.error('error: name either a connection, or the directory of your own instance with --local');
      });
  }
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

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/** Milliseconds of "90s", "5m" or "1h". */
function duration(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,6})([smh])$/.exec(text) ?? [];
  const unitMs = UNITS[unit];
  if (unitMs === undefined) throw new InvalidArgumentError('A time is needed: 90s, 5m or 1h.');
  return Number(count) * unitMs;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(Number.isFinite(value) && value > 0)) throw new InvalidArgumentError('A number above 0 is needed.');
  return value;
}
