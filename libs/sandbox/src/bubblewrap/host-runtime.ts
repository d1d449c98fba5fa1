import { existsSync } from 'node:fs';
import type { Mount } from '../port.js';

/** Programs and libraries, and the few files of /etc that they need; nothing that names the host or its people. */
const PATHS = [
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/etc/alternatives',
  '/etc/ld.so.cache',
  '/etc/ld.so.conf',
  '/etc/ld.so.conf.d',
  '/etc/localtime',
];

/** The host's own programs (sh, git, coreutils …), read-only: bubblewrap's stand-in for an image. */
export function hostRuntime(): Mount[] {
  return PATHS.filter((path) => existsSync(path)).map((path) => ({ source: path, target: path, mode: 'ro' }));
}
