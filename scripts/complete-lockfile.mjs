/**
 * `npm run lockfile`: adds to package-lock.json the optional packages of platforms that the registry in use did not
 * serve. npm leaves those out, and then `npm ci` refuses the lockfile everywhere ("Missing: … from lock file"). The
 * entries carry version, os and cpu, which is all that npm reads of a package that it will not install.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './setup/paths.mjs';

const OS = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'wasm32',
  'win32',
];
const CPU = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64', 'wasm32'];

const file = join(root, 'package-lock.json');
const lock = JSON.parse(readFileSync(file, 'utf8'));
const added = [];

for (const [place, { optionalDependencies = {}, dev, optional, devOptional }] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(optionalDependencies)) {
    if (find(place, name) !== undefined) continue;
    const [os, cpu] = [platformOf(name, OS), platformOf(name, CPU)];
    if (!/^\d+\.\d+\.\d+/.test(range) || (os === undefined && cpu === undefined)) {
      process.stderr.write(`${name}@${range} is missing, and its platform cannot be read from its name\n`);
      process.exitCode = 1;
      continue;
    }
    const isDev = place !== '' && Boolean(dev ?? devOptional);
    lock.packages[placeFor(place, name)] = {
      version: range,
      ...(cpu === undefined ? {} : { cpu: [cpu] }),
      ...(isDev && !optional ? { dev: true } : {}),
      optional: true,
      ...(os === undefined ? {} : { os: [os] }),
    };
    added.push(name);
  }
}

lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${added.length} entries added\n`);

/** The entry that Node would find for `name` from `place`. */
function find(place, name) {
  for (let from = place; ; from = from.slice(0, Math.max(from.lastIndexOf('/node_modules/'), 0))) {
    const found = lock.packages[from === '' ? `node_modules/${name}` : `${from}/node_modules/${name}`];
    if (found !== undefined || from === '') return found;
  }
}

/** Beside its siblings: nested where the parent is nested. */
function placeFor(place, name) {
  const sibling = Object.keys(lock.packages[place].optionalDependencies)
    .map((other) => `${place}/node_modules/${other}`)
    .some((nested) => lock.packages[nested] !== undefined);
  return sibling ? `${place}/node_modules/${name}` : `node_modules/${name}`;
}

function platformOf(name, words) {
  const parts = name.split(/[/-]/);
  if (parts.includes('armv7') || parts.includes('armhf')) parts.push('arm');
  return words.find((word) => parts.includes(word));
}
