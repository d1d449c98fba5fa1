/**
 * `npm run images`: builds the images of deploy/ with the Docker that DOCKER_HOST names.
 *   --base            first makes stand-ins of their base images, where no registry can be reached
 *   --servers         and of the servers that deploy/compose.yaml runs beside them
 *   --network NAME    network of the builds' steps; `host` for a Docker without a bridge
 *   --check           checks them by test/deploy/images.check.ts: those of DOCKER_HOST, or without it all of the above in a
 *                     Docker of its own, which is gone afterwards
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeBases } from './images/bases.mjs';
import { buildImages, docker } from './images/build.mjs';
import { makeServers } from './images/servers.mjs';
import { provideDependencies } from './setup/dependencies.mjs';
import { pinnedNode, root } from './setup/paths.mjs';
import { become, main } from './setup/run.mjs';
import { COMPOSE, DEBOOTSTRAP, demandParts, DOCKER, DOCKER_CLIENT, provideSystemParts } from './setup/system-parts.mjs';

await main(async () => {
  const flag = { type: 'boolean', default: false };
  const network = { type: 'string', default: 'default' };
  const { values } = parseArgs({ options: { base: flag, servers: flag, check: flag, network } });
  await provideDependencies();
  const isOwn = values.check && (process.env.DOCKER_HOST ?? '') === '';
  const also = [
    DOCKER_CLIENT,
    ...(values.check ? [COMPOSE] : []),
    ...(isOwn ? [DOCKER] : []),
    ...(isOwn || values.base ? [DEBOOTSTRAP] : []),
  ];
  demandParts(await provideSystemParts({ isAgreed: false, also }));
  if (values.check) return check();
  if (values.base) await makeBases(docker);
  if (values.servers) await makeServers(docker, values.network);
  await buildImages(values.network);
});

async function check() {
  const reporters = ['--reporters=default', `--reporters=${join(root, 'scripts/proofs/reporter.ts')}`];
  const jest = join(root, 'node_modules/jest/bin/jest.js');
  await become(pinnedNode, [jest, ...reporters, '--runInBand', '--selectProjects', 'images'], { cwd: root });
}
