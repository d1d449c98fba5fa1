/**
 * `npm run dev`, `npm run dev:APP`: installs what is missing, builds what has changed, then keeps a mesh of this checkout up
 * on the pinned Node, whose processes are built and started anew as their sources change. Arguments are those of dev/main.ts.
 */
import { provideBuild } from './setup/build.mjs';
import { provideDependencies } from './setup/dependencies.mjs';
import { pinnedNode, root } from './setup/paths.mjs';
import { become, main } from './setup/run.mjs';
import { demandParts, provideSystemParts } from './setup/system-parts.mjs';

await main(async () => {
  await provideDependencies();
  demandParts(await provideSystemParts({ isAgreed: false }));
  await provideBuild();
  const args = ['--import', './scripts/built-libraries.ts', 'scripts/dev/main.ts', ...process.argv.slice(2)];
  await become(pinnedNode, args, { cwd: root });
});
