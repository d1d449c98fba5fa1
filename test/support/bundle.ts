import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(__dirname, '..', '..');

/**
 * Bundles a program of ours from its source, so that a test that starts a process never runs a stale build.
 *
 * @param external modules of it that are never loaded
 */
export async function bundle(entry: string, outfile: string, external: readonly string[] = []): Promise<string> {
  await build({
    entryPoints: [join(root, entry)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    tsconfig: join(root, 'tsconfig.json'),
    // Loaded only by those that drive a Docker daemon; it has parts that are no JavaScript.
    external: ['dockerode', ...external],
    // CommonJS parts of a bundle look for `require`.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    logLevel: 'error',
  });
  return outfile;
}
