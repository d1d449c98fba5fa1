import {
  assemble,
  DATA,
  ifAnyBit,
  ifAtLeast,
  ifEqual,
  ifNotEqual,
  load,
  ret,
  RETURN,
  type Instruction,
} from './bpf.js';
import { CLONE3, syscallTable, type SyscallTable } from './syscalls.js';

const EPERM = 1;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;

/** CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET of linux/sched.h. */
export const NAMESPACES =
  0x80 | 0x2_0000 | 0x200_0000 | 0x400_0000 | 0x800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;
/** clone's low byte is the exit signal, so that CLONE_NEWTIME is no flag of it. */
export const CLONE_NAMESPACES = NAMESPACES & ~0xff;

/** Unix, IPv4, IPv6, netlink. Others, vsock above all, are not confined by the network namespace. */
export const SOCKET_FAMILIES = [1, 2, 10, 16];

/** TIOCSTI and TIOCLINUX put input into a terminal that is shared with the host (CVE-2017-5226, CVE-2023-28100). */
export const TERMINAL_INJECTION = [0x5412, 0x541c];

/**
 * The seccomp filter for agents, as bubblewrap's `--seccomp` wants it; undefined for a machine without a table.
 *
 * A deny list: agents run whole toolchains, and a call that is missing from an allow list would break them in ways
 * that nobody can foresee. What confines them is the namespaces; the filter shrinks the kernel they can attack.
 */
export function seccompFilter(arch: string = process.arch): Buffer | undefined {
  const table = syscallTable(arch);
  return table && assemble(program(table));
}

function program(table: SyscallTable): Instruction[] {
  const deny = ret(RETURN.errno(EPERM));
  return [
    load(DATA.arch),
    // Another architecture's calling convention would have other numbers.
    ...ifNotEqual(table.arch, [ret(RETURN.killProcess)]),
    load(DATA.nr),
    ...(table.foreignFrom === undefined ? [] : ifAtLeast(table.foreignFrom, [ret(RETURN.errno(ENOSYS))])),
    ...Object.values(table.denied).flatMap((number) => ifEqual(number, [deny])),
    // libc falls back to clone, whose flags can be looked at.
    ...ifEqual(CLONE3, [ret(RETURN.errno(ENOSYS))]),
    ...ifEqual(table.clone, [load(DATA.argLow(0)), ...ifAnyBit(CLONE_NAMESPACES, [deny]), ret(RETURN.allow)]),
    ...ifEqual(table.unshare, [load(DATA.argLow(0)), ...ifAnyBit(NAMESPACES, [deny]), ret(RETURN.allow)]),
    ...ifEqual(table.socket, [
      load(DATA.argLow(0)),
      ...SOCKET_FAMILIES.flatMap((family) => ifEqual(family, [ret(RETURN.allow)])),
      ret(RETURN.errno(EAFNOSUPPORT)),
    ]),
    ...ifEqual(table.ioctl, [
      load(DATA.argLow(1)),
      ...TERMINAL_INJECTION.flatMap((request) => ifEqual(request, [deny])),
      ret(RETURN.allow),
    ]),
    ret(RETURN.allow),
  ];
}
