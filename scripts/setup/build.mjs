import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { cacheDir, pinnedNode, root } from './paths.mjs';
import { runQuietly, SetupFault, timed } from './run.mjs';

const STAMP = join(cacheDir, 'build.stamp');
const SINGLE_FILES = ['nest-cli.json', 'tsconfig.json', 'package-lock.json', 'scripts/build.mjs'];

/** Builds where a source has changed since the last build, and puts `capstan` where npx finds it. */
export async function provideBuild() {
  linkCommand();
  if (existsSync(join(root, 'dist/apps/cli/src/main.js')) && readStamp() === stampOf()) return;
  await timed('Building', async () => {
    const { code, text } = await runQuietly(pinnedNode, [join(root, 'scripts/build.mjs')], { cwd: root });
    if (code !== 0) throw new SetupFault(`The build failed with exit code ${code}:\n${text.trim()}`);
  });
}

/** Notes what was built. @param stamp taken before the build, so that a change meanwhile builds again */
export function noteBuild(stamp) {
  mkdirSync(cacheDir, { recursive: true });
  writeFileSync(STAMP, stamp);
}

/** npx looks into node_modules/.bin; a `bin` of the root package it would install into a cache of its own instead. */
function linkCommand() {
  const link = join(root, 'node_modules/.bin/capstan');
  const target = '../../scripts/capstan.mjs';
  try {
    symlinkSync(target, link);
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    if (!existsSync(link)) {
      rmSync(link);
      symlinkSync(target, link);
    }
  }
}

function readStamp() {
  return existsSync(STAMP) ? readFileSync(STAMP, 'utf8') : '';
}

/** Names, sizes and times of every source; a checkout that touches files builds once more, which takes seconds. */
export function stampOf() {
  const hash = createHash('sha256');
  const rooms = ['apps', 'libs'].flatMap((kind) => readdirSync(join(root, kind)).map((name) => join(root, kind, name)));
  for (const file of [...SINGLE_FILES.map((name) => join(root, name)), ...rooms.flatMap(sourcesOf)]) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${relative(root, file)}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

function sourcesOf(room) {
  const files = readdirSync(room, { recursive: true, withFileTypes: true });
  return files
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.spec.ts'))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}
