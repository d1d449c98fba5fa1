import { CLONE_NAMESPACES, NAMESPACES, SOCKET_FAMILIES, TERMINAL_INJECTION } from './filter.js';
import { syscallTable } from './syscalls.js';

const EPERM = 1;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;

interface Condition {
  index: number;
  value: number;
  valueTwo?: number;
  op: 'SCMP_CMP_EQ' | 'SCMP_CMP_GT' | 'SCMP_CMP_MASKED_EQ';
}

interface Rule {
  names: string[];
  action: 'SCMP_ACT_ERRNO';
  errnoRet: number;
  args?: Condition[];
}

export interface DockerProfile {
  defaultAction: 'SCMP_ACT_ALLOW';
  syscalls: Rule[];
}

/** An `int` of the kernel: what is above it in the register does not count there, and must not count here. */
const LOW_HALF = 0xffff_ffff;

/**
 * The filter of `seccompFilter` in Docker's words, so that both drivers deny the same; undefined for a machine without a table.
 * It takes the place of Docker's own profile: what that one denies needs capabilities that no agent has.
 */
export function dockerProfile(arch: string = process.arch): DockerProfile | undefined {
  const table = syscallTable(arch);
  if (table === undefined) return undefined;
  return {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [
      deny(Object.keys(table.denied), EPERM),
      deny(['clone3'], ENOSYS),
      ...bits(CLONE_NAMESPACES).map((flag) => deny(['clone'], EPERM, masked(0, flag, flag))),
      ...bits(NAMESPACES).map((flag) => deny(['unshare'], EPERM, masked(0, flag, flag))),
      // One comparison for each rule: libseccomp takes no two of one argument.
      deny(['socket'], EAFNOSUPPORT, { index: 0, value: Math.max(...SOCKET_FAMILIES), op: 'SCMP_CMP_GT' }),
      ...familiesBetween().map((family) =>
        deny(['socket'], EAFNOSUPPORT, { index: 0, value: family, op: 'SCMP_CMP_EQ' }),
      ),
      ...TERMINAL_INJECTION.map((request) => deny(['ioctl'], EPERM, masked(1, LOW_HALF, request))),
    ],
  };
}

function deny(names: string[], errnoRet: number, condition?: Condition): Rule {
  return { names, action: 'SCMP_ACT_ERRNO', errnoRet, ...(condition && { args: [condition] }) };
}

function masked(index: number, mask: number, wanted: number): Condition {
  return { index, value: mask, valueTwo: wanted, op: 'SCMP_CMP_MASKED_EQ' };
}

function bits(flags: number): number[] {
  return Array.from({ length: 31 }, (_, bit) => 2 ** bit).filter((flag) => (flags & flag) !== 0);
}

function familiesBetween(): number[] {
  const highest = Math.max(...SOCKET_FAMILIES);
  return Array.from({ length: highest }, (_, family) => family).filter((family) => !SOCKET_FAMILIES.includes(family));
}
