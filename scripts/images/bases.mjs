import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pinnedNode, root } from '../setup/paths.mjs';
import { runQuietly, SetupFault, timed } from '../setup/run.mjs';
import { demandFree, labelOf } from './stand-ins.mjs';

/** What the Dockerfiles of deploy/ begin with, by the names that a registry gives it. */
const DEBIAN = 'debian:bookworm-slim';
export const NODE = 'node:24-bookworm-slim';
/** For the stages that build, and for them only: NODE with this machine's registry and certificates. */
export const BUILD = 'capstan-build:24-bookworm-slim';
const MIRROR = 'http://deb.debian.org';
const NPM_VERSION = '11.19.1';

/** What the images of registries have: no package's archive stays in a layer. */
const NO_ARCHIVES = `DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
`;

const NODE_DOCKERFILE = `FROM ${DEBIAN}
COPY local /usr/local
RUN groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node
CMD ["node"]
`;
const BUILD_DOCKERFILE = `FROM ${NODE}
COPY etc /usr/local/etc
`;

/**
 * Makes stand-ins of both base images where no registry can be reached: Debian's own packages, and Node from its npm package.
 * They know nothing of this machine. What npm needs here is in a third image, BUILD.
 * @param docker runs Docker's client with the arguments that it is given
 * @throws SetupFault where that Docker has other images of these names
 */
export async function makeBases(docker) {
  await demandFree(docker, [DEBIAN, NODE, BUILD]);
  const directory = mkdtempSync(join(tmpdir(), 'capstan-bases-'));
  // Root's own programs go into it.
  chmodSync(directory, 0o755);
  try {
    await timed(`Making ${DEBIAN} of Debian's packages`, () => makeDebian(docker, join(directory, 'debian')));
    await timed(`Making ${NODE} of npm's packages`, () => makeNode(docker, join(directory, 'node')));
    await makeBuild(docker, join(directory, 'build'));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function makeDebian(docker, tree) {
  await succeed('debootstrap', ['--variant=minbase', 'bookworm', tree, `${MIRROR}/debian`]);
  writeFileSync(
    join(tree, 'etc/apt/sources.list'),
    [
      `deb ${MIRROR}/debian bookworm main`,
      `deb ${MIRROR}/debian bookworm-updates main`,
      `deb ${MIRROR}/debian-security bookworm-security main`,
      '',
    ].join('\n'),
  );
  writeFileSync(join(tree, 'etc/apt/apt.conf.d/docker-clean'), NO_ARCHIVES);
  for (const place of ['var/cache/apt', 'var/lib/apt/lists', 'usr/share/man', 'usr/share/info', 'usr/share/locale'])
    empty(join(tree, place));
  // debootstrap copies those of this machine.
  for (const name of ['hostname', 'resolv.conf']) {
    // Never through a link, which would lead out of the tree.
    rmSync(join(tree, 'etc', name), { force: true });
    writeFileSync(join(tree, 'etc', name), '');
  }
  await succeed('sh', ['-ceu', 'tar --numeric-owner -C "$1" -c . -f "$1.tar"', 'sh', tree]);
  await docker(['import', '--change', 'CMD ["bash"]', '--change', `LABEL ${labelOf(DEBIAN)}`, `${tree}.tar`, DEBIAN]);
}

async function makeNode(docker, context) {
  const local = join(context, 'local');
  mkdirSync(join(local, 'bin'), { recursive: true });
  cpSync(pinnedNode, join(local, 'bin/node'), { dereference: true });
  await succeed('npm', ['install', '--global', '--no-audit', '--no-fund', '--prefix', local, `npm@${NPM_VERSION}`]);
  // Its own list would name the registry.
  rmSync(join(local, 'lib/node_modules/.package-lock.json'), { force: true });
  writeFileSync(join(context, 'Dockerfile'), NODE_DOCKERFILE);
  await docker(['build', '--label', labelOf(NODE), '--tag', NODE, context]);
}

async function makeBuild(docker, context) {
  const etc = join(context, 'etc');
  mkdirSync(etc, { recursive: true });
  writeFileSync(join(etc, 'npmrc'), await npmSettings(join(etc, 'npm-certificates.pem')));
  writeFileSync(join(context, 'Dockerfile'), BUILD_DOCKERFILE);
  await docker(['build', '--label', labelOf(BUILD), '--tag', BUILD, context]);
}

async function npmSettings(certificates) {
  const { text } = await runQuietly('npm', ['config', 'get', 'registry'], { cwd: root });
  const registry = text.split('\n').find((line) => /^https?:/.test(line));
  const settings = registry === undefined ? [] : [`registry=${registry.trim()}`];
  const extra = process.env.NODE_EXTRA_CA_CERTS ?? '';
  if (extra !== '') {
    writeFileSync(certificates, readFileSync(extra));
    settings.push('cafile=/usr/local/etc/npm-certificates.pem');
  }
  return [...settings, ''].join('\n');
}

function empty(directory) {
  for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true, force: true });
}

async function succeed(command, args) {
  const { code, text } = await runQuietly(command, args);
  if (code !== 0) throw new SetupFault(`${command} ended with ${code}:\n${text.trim().slice(-2000)}`);
}
