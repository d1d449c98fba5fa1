// Bundles the agent to the one file that sandboxes mount: dist/apps/agent/agent.mjs.
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

const result = await build({
  absWorkingDir: root,
  entryPoints: ['apps/agent/src/main.ts'],
  outfile: 'dist/apps/agent/agent.mjs',
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
  metafile: true,
});

const { bytes } = Object.values(result.metafile.outputs)[0] ?? { bytes: 0 };
console.log(`dist/apps/agent/agent.mjs (${(bytes / 1024).toFixed(0)} KiB)`);
