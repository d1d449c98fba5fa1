/**
 * `npm test`: installs what is missing, builds what has changed, then runs jest on the pinned Node; arguments are jest's.
 * Runs on Node 20 with nothing installed. No test ever sees a model key.
 */
import { delimiter, join } from 'node:path';
import { provideBuild } from './setup/build.mjs';
import { provideDependencies } from './setup/dependencies.mjs';
import { pinnedNode, root } from './setup/paths.mjs';
import { become, main, say } from './setup/run.mjs';
import { demandParts, provideSystemParts } from './setup/system-parts.mjs';

const MODEL_KEYS = ['ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN', 'CLAUDE_API_KEY', 'CAPSTAN_ANTHROPIC_URL'];

await main(async () => {
  await provideDependencies();
  const missing = await provideSystemParts({ isAgreed: false });
  if (process.env.CI !== undefined && process.env.CI !== '') demandParts(missing);
  for (const { name, command } of missing)
    say(`${name} is missing, and what needs it cannot pass. To provide it: ${command}`);
  await provideBuild();
  const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}${delimiter}${process.env.PATH ?? ''}` };
  for (const name of MODEL_KEYS) delete env[name];
  const reporters = ['--reporters=default', `--reporters=${join(root, 'scripts/proofs/reporter.ts')}`];
  await become(pinnedNode, [join(root, 'node_modules/jest/bin/jest.js'), ...reporters, ...process.argv.slice(2)], {
    cwd: root,
    env,
  });
});
