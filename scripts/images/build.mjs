import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup/paths.mjs';
import { runQuietly, SetupFault, timed } from '../setup/run.mjs';
import { BUILD, NODE } from './bases.mjs';
import { isStandIn } from './stand-ins.mjs';

export const IMAGES = ['agent', 'hub', 'instance'];
/** Those that npm installs something for. */
const BUILT_BY_NPM = ['hub', 'instance'];

/**
 * Docker's client, on the daemon that DOCKER_HOST names or its own default.
 * @throws SetupFault with the end of what it printed
 */
export async function docker(args) {
  const { code, text } = await runQuietly('docker', args, { cwd: root, env: await environment() });
  if (code !== 0) throw new SetupFault(`docker ${args[0]} ended with ${code}:\n${text.trim().slice(-3000)}`);
  return text;
}

/** Builds the images of deploy/, each named `capstan-NAME:VERSION`. @param network of the steps; without a bridge, `host` */
export async function buildImages(network) {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const base = (await isStandIn(docker, NODE)) ? ['--build-arg', `BUILD_BASE=${BUILD}`] : [];
  for (const name of IMAGES) {
    const tag = `capstan-${name}:${version}`;
    const file = join('deploy', name, 'Dockerfile');
    const options = ['--network', network, ...(BUILT_BY_NPM.includes(name) ? base : [])];
    await timed(`Building ${tag}`, () => docker(['build', ...options, '--file', file, '--tag', tag, '.']));
  }
}

/** Docker's client of some systems comes without BuildKit's part, and then must be told to do without. */
async function environment() {
  const { code } = await runQuietly('docker', ['buildx', 'version']);
  return code === 0 ? process.env : { ...process.env, DOCKER_BUILDKIT: '0' };
}
