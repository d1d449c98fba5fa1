import type { SandboxSpec } from '../port.js';
import { badSpec } from './check-spec.js';

/** A small file that the driver puts into the sandbox. */
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
