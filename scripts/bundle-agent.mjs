/**
 * Bundles the agent to the one file that sandboxes mount: dist/apps/agent/agent.mjs, or the file that is named.
 */
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const outfile = process.argv[2] ?? 'dist/apps/agent/agent.mjs';

await build({
  absWorkingDir: root,
  entryPoints: ['apps/agent/src/main.ts'],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  minifySyntax: true,
  legalComments: 'inline',
  // Packages that are still CommonJS ask for Node's modules by require.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
