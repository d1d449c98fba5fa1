import type { Mount, SandboxSpec } from '../port.js';
import { SandboxFault } from '../sandbox-fault.js';
import { hostRuntime } from './host-runtime.js';

const TMPFS_BYTES = 512 * 1024 * 1024;
const SHM_BYTES = 64 * 1024 * 1024;

/** A small file that bubblewrap puts into the sandbox from an inherited file descriptor. */
export interface DataFile {
  target: string;
  text: string;
}

/**
 * The files of /etc that programs look for, without anything of the host's: the agent sees itself as its only user.
 */
export function identityFiles(spec: SandboxSpec, uid: number, gid: number): DataFile[] {
  const home = spec.env['HOME'] ?? '/tmp';
  if (/[:\n]/.test(home)) throw badSpec('HOME', home);
  const passwd = `agent:x:${String(uid)}:${String(gid)}:agent:${home}:/bin/sh\n`;
  return [
    { target: '/etc/passwd', text: passwd },
    { target: '/etc/group', text: `agent:x:${String(gid)}:\n` },
    { target: '/etc/hosts', text: '127.0.0.1 localhost\n::1 localhost\n' },
  ];
}

/**
 * bubblewrap's options for a spec; `dataFds` are the descriptors of the data files in order.
 *
 * They travel by `--args`, because a command line would show the host's paths and the environment to everybody on
 * the host, and to the agent itself as its pid 1's.
 */
export function bubblewrapArguments(
  spec: SandboxSpec,
  fds: { info: number; seccomp?: number; data: { fd: number; target: string }[] },
): string[] {
  const args = [
    ...['--unshare-all', '--unshare-user', '--disable-userns', '--new-session', '--die-with-parent'],
    ...['--cap-drop', 'ALL', '--hostname', 'agent', '--clearenv'],
    ...Object.entries(spec.env).flatMap(([name, value]) => ['--setenv', name, value]),
    ...['--proc', '/proc', '--dev', '/dev', '--size', String(SHM_BYTES), '--tmpfs', '/dev/shm', '--remount-ro', '/dev'],
    ...['/tmp', ...(spec.tmpfs ?? [])].flatMap((path) => [
      '--size',
      String(TMPFS_BYTES),
      '--perms',
      '1777',
      '--tmpfs',
      path,
    ]),
    ...mountsOf(spec).flatMap(({ source, target, mode }) => [mode === 'ro' ? '--ro-bind' : '--bind', source, target]),
    ...fds.data.flatMap(({ fd, target }) => ['--perms', '0444', '--ro-bind-data', String(fd), target]),
    // Last: until here bubblewrap makes mount points in the new root.
    ...['--remount-ro', '/', '--chdir', spec.cwd, '--info-fd', String(fds.info)],
    ...(fds.seccomp === undefined ? [] : ['--seccomp', String(fds.seccomp)]),
  ];
  const broken = [...args, ...spec.argv].find((argument) => argument.includes('\0'));
  if (broken !== undefined) throw badSpec('argument', 'a NUL byte');
  return args;
}

/** The host's runtime and the spec's own mounts, outer before inner, so that none hides another. */
function mountsOf(spec: SandboxSpec): Mount[] {
  const byTarget = new Map([...hostRuntime(), ...spec.mounts].map((mount) => [mount.target, mount]));
  const depth = ({ target }: Mount) => target.split('/').filter((part) => part !== '').length;
  return [...byTarget.values()].sort((a, b) => depth(a) - depth(b));
}

/** Checks what bubblewrap would misread or would take literally. Throws SandboxFault `sandbox-spec`. */
export function checkSpec(spec: SandboxSpec): void {
  if (!/^[a-z0-9-]{1,63}$/.test(spec.agentId)) throw badSpec('agentId', spec.agentId);
  if (spec.argv.length === 0) throw badSpec('argv', 'empty');
  for (const id of [spec.uid, spec.gid]) if (!Number.isInteger(id) || id <= 0) throw badSpec('uid or gid', String(id));
  for (const [name, limit] of Object.entries(spec.limits)) {
    if (!(Number.isFinite(limit) && Number(limit) > 0)) throw badSpec(`limit ${name}`, String(limit));
  }
  for (const name of Object.keys(spec.env)) if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw badSpec('env', name);
  const inside = [spec.cwd, ...(spec.tmpfs ?? []), ...spec.mounts.map(({ target }) => target)];
  for (const path of [...inside, ...spec.mounts.map(({ source }) => source)]) {
    if (!path.startsWith('/') || path.split('/').includes('..')) throw badSpec('path', path);
  }
  if (inside.some((path) => path === '/proc' || path.startsWith('/proc/'))) throw badSpec('path', '/proc');
}

function badSpec(what: string, value: string): SandboxFault {
  return new SandboxFault('sandbox-spec', `The sandbox's ${what} is not usable.`, value);
}
