/** The `capstan` command. Whatever a command needs is loaded when it runs, so that `--help` answers at once. */
import { runCli } from './run-cli.js';

// Somebody who reads only the first lines (`| head`) is no fault.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

process.exitCode = await runCli(process.argv.slice(2));
