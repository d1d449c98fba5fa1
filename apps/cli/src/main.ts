/** The `capstan` command. Whatever a command needs is loaded when it runs, so that `--help` answers at once. */
import { runCli } from './run-cli.js';

process.exitCode = await runCli(process.argv.slice(2));
