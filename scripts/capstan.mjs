#!/usr/bin/env node
/** `npx capstan` inside the checkout: the built command line, on the Node that the project pins. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { pinnedNode, root } from './setup/paths.mjs';

const program = join(root, 'dist/apps/cli/src/main.js');

if (!existsSync(program)) {
  process.stderr.write('capstan: not built yet; run "npm start" or "npm run build" (not-built)\n');
  process.exitCode = 1;
} else if (Number(process.versions.node.split('.')[0]) >= 24) {
  await import(pathToFileURL(program).href);
} else {
  const { become } = await import('./setup/run.mjs');
  await become(pinnedNode, [program, ...process.argv.slice(2)]);
}
