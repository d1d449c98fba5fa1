/** `npm run build`: every app and library with Nest's SWC builder, then the agent as one file. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { noteBuild, stampOf } from './setup/build.mjs';
import { root } from './setup/paths.mjs';

const stamp = stampOf();

const nest = spawnSync(process.execPath, [join(root, 'node_modules/@nestjs/cli/bin/nest.js'), 'build', '--all'], {
  cwd: root,
  encoding: 'utf8',
});
// Nest says the same two lines for each project; only a failure is worth reading.
if (nest.status !== 0 || /failed|error/i.test(nest.stderr)) process.stderr.write(`${nest.stdout}${nest.stderr}`);
process.exitCode = nest.status ?? 1;

if (process.exitCode === 0) {
  await import('./bundle-agent.mjs');
  noteBuild(stamp);
}
