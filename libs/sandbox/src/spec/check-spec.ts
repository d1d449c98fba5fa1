import type { SandboxSpec } from '../port.js';
import { SandboxFault } from '../sandbox-fault.js';

/** Checks what a driver would misread or would take literally. Throws SandboxFault `sandbox-spec`. */
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

export function badSpec(what: string, value: string): SandboxFault {
  return new SandboxFault('sandbox-spec', `The sandbox's ${what} is not usable.`, value);
}
