/**
 * `npm run chaos`: provides what chaos needs, then runs it on the pinned Node; arguments are those of test/chaos/main.ts.
 * Where libfaketime was declined clocks are left alone, and that is said; in CI a missing part is a failure.
 */
import { provideBuild } from './setup/build.mjs';
import { provideDependencies } from './setup/dependencies.mjs';
import { pinnedNode, root } from './setup/paths.mjs';
import { become, main, say } from './setup/run.mjs';
import { demandParts, FAKETIME, provideSystemParts } from './setup/system-parts.mjs';

await main(async () => {
  await provideDependencies();
  const missing = await provideSystemParts({ isAgreed: false, also: [FAKETIME] });
  const isCi = process.env.CI !== undefined && process.env.CI !== '';
  demandParts(isCi ? missing : missing.filter(({ name }) => name !== FAKETIME.name));
  for (const { name, command } of missing) say(`No clock will be moved, because ${name} is missing: ${command}`);
  await provideBuild();
  const args = ['--import', './scripts/built-libraries.ts', 'test/chaos/main.ts', ...process.argv.slice(2)];
  await become(pinnedNode, args, { cwd: root });
});
