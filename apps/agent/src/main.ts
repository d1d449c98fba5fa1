/**
 * What runs inside the sandbox: the loop between a model and its tools. Bundled to one file; imports protocol at most.
 *
 * It is trusted with nothing: no key, no network but the gateway's socket, no way to commit. Exit code 0 means that
 * work was submitted.
 */
import { jsonLines } from './output.js';
import { runAgent } from './run-agent.js';

const RUN = process.env['CAPSTAN_RUN_DIR'] ?? '/run/capstan';

// The group of each tool call dies with the sandbox; nothing here needs to be told of the end.
const reason = await runAgent(
  { taskFile: `${RUN}/task.json`, gatewaySocket: `${RUN}/gateway.sock`, submitSocket: `${RUN}/submit.sock` },
  jsonLines(process.stdout),
);
process.exitCode = reason === 'submitted' ? 0 : 1;
