/**
 * `npm start`: installs what is missing, builds what has changed, then runs `capstan up --demo` on the pinned Node.
 * Runs on Node 20 with nothing installed.
 */
import { join } from 'node:path';
import { provideBuild } from './setup/build.mjs';
import { provideDependencies } from './setup/dependencies.mjs';
import { pinnedNode, root } from './setup/paths.mjs';
import { become, main } from './setup/run.mjs';
import { demandParts, provideSystemParts } from './setup/system-parts.mjs';

const args = process.argv.slice(2);

await main(async () => {
  await provideDependencies();
  demandParts(await provideSystemParts({ isAgreed: args.includes('--yes') }));
  await provideBuild();
  await become(pinnedNode, [join(root, 'dist/apps/cli/src/main.js'), 'up', '--demo', ...args]);
});
