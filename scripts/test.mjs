/**
 * `npm test`: installs what is missing, builds what has changed, then runs jest on the pinned Node; arguments are jest's.
 * Runs on Node 20 with nothing installed. No test ever sees a model key. Where a part of the system was declined, the
 * suites that need it are left out by name; in CI a missing part is a failure.
 */
import { delimiter, join } from 'node:path';
import { provideBuild } from './setup/build.mjs';
import { provideDependencies } from './setup/dependencies.mjs';
import { pinnedNode, root } from './setup/paths.mjs';
import { become, main, say } from './setup/run.mjs';
import { leaveOut, sentencesOf, suitesWithout } from './setup/suites.mjs';
import { demandParts, DOCKER, OPENSSH, provideSystemParts } from './setup/system-parts.mjs';

const MODEL_KEYS = ['ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN', 'CLAUDE_API_KEY', 'CAPSTAN_ANTHROPIC_URL'];

await main(async () => {
  await provideDependencies();
  const isRoot = process.getuid?.() === 0;
  const missing = await provideSystemParts({ isAgreed: false, also: isRoot ? [OPENSSH, DOCKER] : [OPENSSH] });
  if (!isRoot) missing.push({ name: DOCKER.name, command: 'run the tests as root' });
  const isCi = process.env.CI !== undefined && process.env.CI !== '';
  const { demanded, skipped } = suitesWithout(missing);
  demandParts(isCi ? missing : demanded);
  const sentences = sentencesOf(skipped);
  sentences.forEach(say);
  await provideBuild();
  const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}${delimiter}${process.env.PATH ?? ''}` };
  for (const name of MODEL_KEYS) delete env[name];
  // The reporter says it once more, above its closing line.
  if (sentences.length > 0) env.CAPSTAN_SKIPPED = sentences.join('\n');
  const reporters = ['--reporters=default', `--reporters=${join(root, 'scripts/proofs/reporter.ts')}`];
  const given = process.argv.slice(2);
  // Last, because it takes every name behind it.
  const projects = given.includes('--selectProjects') ? [] : ['--selectProjects', 'unit', 'mesh'];
  env.CAPSTAN_LEFT_OUT = JSON.stringify(leaveOut(skipped));
  const args = [...reporters, ...given, ...projects];
  await become(pinnedNode, [join(root, 'node_modules/jest/bin/jest.js'), ...args], { cwd: root, env });
});
