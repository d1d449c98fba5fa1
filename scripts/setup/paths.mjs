import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// Everything in scripts/setup runs on Node 20 with nothing installed: node's own modules only.

/** The checkout. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** Where this machine's notes about installs and builds are kept. */
export const cacheDir = join(root, 'node_modules', '.cache', 'capstan');

/** The Node that the project pins, an npm package like any other. */
export const pinnedNode = join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');

/** True where a program of this name is on the PATH, or where administrators' programs are. */
export function isOnPath(name) {
  const places = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`.split(':');
  return places.some((directory) => directory !== '' && existsSync(join(directory, name)));
}
