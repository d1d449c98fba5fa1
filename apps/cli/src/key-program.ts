import type { Command } from 'commander';
import type { Output } from './output/output.js';
import { withJson } from './with-json.js';

type Millis = (text: string) => number;

/** Commands that put one key in the place of another. */
export function addKeys(
  program: Command,
  spoke: Command,
  output: Output,
  context: () => { context?: string },
  duration: Millis,
): void {
  const overlap = [
    '--overlap <time>',
    'how long the old key is believed: 90s, 5m, 24h; a week at most',
    duration,
  ] as const;
  withJson(spoke.command('rotate-key'))
    .description('put another identity key in the place of the one in use; no restart')
    .requiredOption('--local <dir>', 'the instance whose spoke runs on this machine')
    .option(...overlap)
    .action(async ({ local, ...options }: { local: string; overlap?: number }) =>
      (await import('./commands/keys.js')).rotateSpokeKey(output, local, options),
    );
  withJson(spoke.command('recover'))
    .description('put a new identity key in the place of one that is lost or stolen, by the root key')
    .requiredOption('--local <dir>', "the instance's directory")
    .requiredOption('--root-key <file>', 'the root key that was named when it joined')
    .action(async ({ local, rootKey }: { local: string; rootKey: string }) =>
      (await import('./commands/keys.js')).recoverSpokeKey(output, local, rootKey),
    );
  withJson(program.command('hub').description("the hub's own affairs").command('rotate-key'))
    .description("put another key in the place of the hub's; every instance is told")
    .option(...overlap)
    .action(async (options: { overlap?: number }) =>
      (await import('./commands/keys.js')).rotateHubKey(output, { ...context(), ...options }),
    );
  const rootKey = program.command('root-key').description("the owner's offline key");
  withJson(rootKey.command('pin'))
    .description('believe what an owner puts in the place of a lost key by his root key')
    .argument('<file>', 'its public half, FILE.pub')
    .requiredOption('--of <instance>', 'whose root key it is')
    .option('--trust <file>', "where to pin it: trust.json of the context, or an instance's peers.json")
    .action(async (file: string, options: { of: string; trust?: string }) =>
      (await import('./commands/pin-root-key.js')).pinRootKey(output, file, { ...context(), ...options }),
    );
  withJson(rootKey.command('create'))
    .description('make a root key, and FILE.pub beside it')
    .argument('<file>')
    .action(async (file: string) => (await import('./commands/keys.js')).createRootKey(output, file));
}
