import { CommanderError } from 'commander';
import { ExitCode, exitCodeOf } from './exit-codes.js';
import { Output, type Streams } from './output/output.js';
import { buildProgram } from './program.js';

/**
 * Runs one command line and returns its exit code. With `--json` a failure, too, is exactly one object on stdout.
 * @param args without node and script. @param streams where text goes; default this process's.
 */
export async function runCli(args: readonly string[], streams?: Streams): Promise<number> {
  const output = new Output({ isJson: args.includes('--json'), ...(streams === undefined ? {} : { streams }) });
  const program = buildProgram(output);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return output.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return usageExit(error, output);
    output.failure(error);
    return exitCodeOf(error);
  }
}

function usageExit(error: CommanderError, output: Output): number {
  if (error.exitCode === 0) return ExitCode.ok;
  // Commander has told people already.
  if (output.isJson) output.failureJson('usage', error.message.replace(/^error: /, ''));
  return ExitCode.usage;
}
