import { createInterface } from 'node:readline/promises';
import { isOnPath } from './paths.mjs';
import { run, say, SetupFault } from './run.mjs';

/** Parts that no npm package carries, with their packages by package manager, best first. */
const PARTS = [
  { name: 'git', programs: ['git'], packages: () => ['git'] },
  {
    name: 'Valkey (or Redis)',
    programs: ['valkey-server', 'redis-server'],
    isProvided: () => (process.env.CAPSTAN_VALKEY_URL ?? '') !== '',
    packages: (manager) => (manager === 'apt-get' ? ['redis-server', 'valkey-server'] : ['valkey', 'redis']),
  },
  {
    name: 'setpriv (of util-linux)',
    programs: ['setpriv'],
    onlyOn: 'linux',
    packages: (manager) => (manager === 'apk' ? ['setpriv'] : ['util-linux']),
  },
  { name: 'bubblewrap', programs: ['bwrap'], onlyOn: 'linux', packages: () => ['bubblewrap'] },
];

/** What only chaos needs: it moves the clocks of single processes. */
export const FAKETIME = {
  name: 'libfaketime',
  programs: ['faketime'],
  onlyOn: 'linux',
  packages: (manager) => (manager === 'apt-get' ? ['faketime'] : ['libfaketime']),
};

/** What only the tests of the Docker sandbox need: they start a daemon of their own, as root. */
export const DOCKER = {
  name: 'Docker',
  programs: ['dockerd'],
  onlyOn: 'linux',
  packages: (manager) => ({ 'apt-get': ['docker.io'], dnf: ['moby-engine'] })[manager] ?? ['docker'],
};

/** What only the tests of private repositories need: a server that they start for themselves. */
export const OPENSSH = {
  name: 'OpenSSH server',
  programs: ['sshd'],
  onlyOn: 'linux',
  packages: (manager) => (manager === 'apt-get' || manager === 'dnf' ? ['openssh-server'] : ['openssh']),
};

/** What `npm run images` needs where somebody else's Docker builds. */
export const DOCKER_CLIENT = { ...DOCKER, name: 'the client of Docker', programs: ['docker'] };

/** What only the check of the images needs; a `docker compose` is taken first where there is one. */
export const COMPOSE = { name: 'docker-compose', programs: ['docker-compose'], packages: () => ['docker-compose'] };

/** What only stand-ins of base images need, see scripts/images. */
export const DEBOOTSTRAP = {
  name: 'debootstrap',
  programs: ['debootstrap'],
  onlyOn: 'linux',
  packages: () => ['debootstrap'],
};

const MANAGERS = {
  'apt-get': { install: ['install', '-y', '--no-install-recommends'], refresh: ['update'] },
  dnf: { install: ['install', '-y'] },
  apk: { install: ['add'], refresh: ['update'] },
  pacman: { install: ['-S', '--noconfirm', '--needed'], refresh: ['-Sy'] },
  zypper: { install: ['--non-interactive', 'install'] },
  brew: { install: ['install'], isForUsers: true },
};

/**
 * Provides git, Valkey and bubblewrap, and the parts `also`, by the system's package manager.
 *
 * Nothing is installed without a word: as root with no terminal attached, or with `isAgreed`, the command is shown and
 * run; at a terminal it is shown and asked for; else it is only named.
 *
 * @returns the parts that are still missing, each with the command that provides it.
 */
export async function provideSystemParts({ isAgreed, also = [] }) {
  const parts = [...PARTS, ...also];
  const missing = parts.filter(isMissing);
  if (missing.length === 0) return [];
  const manager = Object.keys(MANAGERS).find(isOnPath);
  if (manager === undefined)
    return missing.map(({ name }) => ({ name, command: 'install it with the package manager of this system' }));
  const command = installCommand(
    manager,
    missing.map((part) => part.packages(manager)[0]),
  );
  if (await mayInstall(missing, command, isAgreed)) {
    for (const part of missing) await install(manager, part);
  }
  return parts.filter(isMissing).map(({ name, packages }) => ({
    name,
    command: installCommand(manager, [packages(manager)[0]]).join(' '),
  }));
}

/** @throws SetupFault that names each missing part and its command. */
export function demandParts(missing) {
  if (missing.length === 0) return;
  throw new SetupFault(
    ['These parts are missing:', ...missing.map(({ name, command }) => `  ${name}: ${command}`)].join('\n'),
  );
}

function isMissing({ programs, onlyOn, isProvided }) {
  if (onlyOn !== undefined && onlyOn !== process.platform) return false;
  return !(isProvided?.() ?? false) && !programs.some(isOnPath);
}

async function mayInstall(missing, command, isAgreed) {
  const names = missing.map(({ name }) => name).join(', ');
  const isTerminal = process.stdin.isTTY && process.stderr.isTTY;
  if (isAgreed || (isRoot() && !isTerminal)) {
    say(`Missing: ${names}. Installing: ${command.join(' ')}`);
    return true;
  }
  if (!isTerminal) return false;
  say(`Missing: ${names}. This would install what is needed:\n  ${command.join(' ')}`);
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await reader.question('Run it? [y/N] ')).trim());
  } finally {
    reader.close();
  }
}

/** Tries the part's packages in turn; refreshes the package lists once in between, they are empty in fresh containers. */
async function install(manager, part) {
  const { refresh } = MANAGERS[manager];
  const attempts = [...part.packages(manager), ...(refresh === undefined ? [] : [null, ...part.packages(manager)])];
  for (const name of attempts) {
    const [command, ...args] = name === null ? asRoot(manager, [manager, ...refresh]) : installCommand(manager, [name]);
    await run(command, args, { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' } });
    if (!isMissing(part)) return;
  }
}

function installCommand(manager, packages) {
  return asRoot(manager, [manager, ...MANAGERS[manager].install, ...packages]);
}

function asRoot(manager, command) {
  return isRoot() || MANAGERS[manager].isForUsers ? command : ['sudo', ...command];
}

function isRoot() {
  return process.getuid?.() === 0;
}
