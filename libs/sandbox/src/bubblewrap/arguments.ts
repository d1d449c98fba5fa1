import type { Mount, SandboxSpec } from '../port.js';
import { badSpec } from '../spec/check-spec.js';
import { hostRuntime } from './host-runtime.js';

const TMPFS_BYTES = 512 * 1024 * 1024;
const SHM_BYTES = 64 * 1024 * 1024;

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
