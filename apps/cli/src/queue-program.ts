import type { Command } from 'commander';
import type { Output } from './output/output.js';
import { withJson } from './with-json.js';

const VERBS = [
  ['show', 'how many agents wait, run and have ended on an instance of this machine'],
  ['pause', 'start nothing more on it; what runs goes on, and kills work'],
  ['resume', 'start what waits again'],
] as const;

/** `capstan queue`: the owner's own queue. */
export function addQueue(program: Command, output: Output): void {
  const queue = program.command('queue').description("the queue of one's own instance");
  for (const [verb, description] of VERBS) {
    withJson(queue.command(verb))
      .description(description)
      .requiredOption('--local <dir>', "the instance's directory")
      .action(async ({ local }: { local: string }) => (await import('./commands/queue.js')).queue(output, verb, local));
  }
}
