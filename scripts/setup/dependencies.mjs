import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pinnedNode, root } from './paths.mjs';
import { runQuietly, SetupFault, timed } from './run.mjs';

/** Installs the npm packages of the lockfile where one is missing or has another version. */
export async function provideDependencies() {
  if (isInstalled()) return;
  await timed('Installing npm packages with npm ci', install);
  if (!existsSync(pinnedNode)) {
    throw new SetupFault(
      'The npm package "node" has not brought its binary: its install script must be allowed to run (npm config ignore-scripts).',
    );
  }
}

async function install() {
  const [command, ...first] = npmCommand();
  const args = [...first, 'ci', '--no-audit', '--no-fund', '--include=dev', '--include=optional'];
  const { code, text } = await runQuietly(command, args, {
    cwd: root,
    // npm passes the flags of `npm start` on by environment; they are not meant for this install. Its warnings speak of
    // the Node that runs npm, which runs nothing here, and of install scripts that are left out on purpose.
    env: { ...process.env, npm_config_loglevel: 'error', npm_config_json: 'false' },
  });
  if (code === 0) return;
  throw new SetupFault(`npm ci failed with exit code ${code}; its own words:\n${text.trim()}`);
}

/** Compares the lockfile with npm's own record of what lies in node_modules. */
function isInstalled() {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record) || !existsSync(pinnedNode)) return false;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const there = JSON.parse(readFileSync(record, 'utf8')).packages;
  return Object.entries(wanted).every(([place, { version, optional, devOptional, peer }]) => {
    if (place === '') return true;
    const found = there[place];
    // Optional packages of other platforms are never installed.
    return found === undefined ? Boolean(optional ?? devOptional ?? peer) : found.version === version;
  });
}

/** The npm that started us, else the one on the PATH. */
function npmCommand() {
  const script = process.env.npm_execpath;
  return script !== undefined && script.endsWith('npm-cli.js') ? [process.execPath, script] : ['npm'];
}
