/**
 * A process that owns one sandbox, so that a test can kill the owner: its argument names driver, options and spec as JSON. It
 * gives GO, reads both outputs, and prints one line with the sandbox's handle once the agent has said its first word.
 */
import { once } from 'node:events';
import { BubblewrapDriver, DockerDriver, type SandboxSpec } from '@capstan/sandbox';

const { driver, options, spec } = JSON.parse(process.argv[2] ?? '') as {
  driver: 'docker' | 'bubblewrap';
  options: object;
  spec: SandboxSpec;
};
const sandbox = await (driver === 'docker' ? new DockerDriver(options) : new BubblewrapDriver(options)).prepare(spec);
sandbox.stderr.resume();
const said = once(sandbox.stdout, 'data');
await sandbox.go();
await said;
const text = JSON.stringify(sandbox.handle, (_, value: unknown) =>
  typeof value === 'bigint' ? `${String(value)}n` : value,
);
process.stdout.write(`${text}\n`);
// Until it is killed.
setInterval(() => undefined, 60_000);
