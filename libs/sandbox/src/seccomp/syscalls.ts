/**
 * Numbers of the system calls that the filter names.
 * Source: Linux arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h (arm64); from 424 on
 * the numbers are the same everywhere.
 */
export interface SyscallTable {
  /** AUDIT_ARCH_* of linux/audit.h. */
  arch: number;
  /** First number of a foreign calling convention to refuse whole: the x32 ABI. */
  foreignFrom?: number;
  /** Denied whatever the arguments. */
  denied: Record<string, number>;
  clone: number;
  unshare: number;
  socket: number;
  ioctl: number;
}

/** What agents have no use for and attackers do: other processes, mounts, keys, kernel code, wide attack surface. */
const everywhere = {
  io_uring_setup: 425,
  io_uring_enter: 426,
  io_uring_register: 427,
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  fspick: 433,
  pidfd_getfd: 438,
  mount_setattr: 442,
  quotactl_fd: 443,
};

/** The same in every kernel; its arguments are behind a pointer, so that no filter can tell namespaces from threads. */
export const CLONE3 = 435;

const x64: SyscallTable = {
  arch: 0xc000_003e,
  foreignFrom: 0x4000_0000,
  clone: 56,
  unshare: 272,
  socket: 41,
  ioctl: 16,
  denied: {
    ...everywhere,
    ptrace: 101,
    syslog: 103,
    uselib: 134,
    personality: 135,
    modify_ldt: 154,
    pivot_root: 155,
    chroot: 161,
    acct: 163,
    settimeofday: 164,
    mount: 165,
    umount2: 166,
    swapon: 167,
    swapoff: 168,
    reboot: 169,
    iopl: 172,
    ioperm: 173,
    init_module: 175,
    delete_module: 176,
    quotactl: 179,
    lookup_dcookie: 212,
    clock_settime: 227,
    kexec_load: 246,
    add_key: 248,
    request_key: 249,
    keyctl: 250,
    perf_event_open: 298,
    fanotify_init: 300,
    open_by_handle_at: 304,
    setns: 308,
    process_vm_readv: 310,
    process_vm_writev: 311,
    kcmp: 312,
    finit_module: 313,
    kexec_file_load: 320,
    bpf: 321,
    userfaultfd: 323,
  },
};

const arm64: SyscallTable = {
  arch: 0xc000_00b7,
  clone: 220,
  unshare: 97,
  socket: 198,
  ioctl: 29,
  denied: {
    ...everywhere,
    lookup_dcookie: 18,
    umount2: 39,
    mount: 40,
    pivot_root: 41,
    chroot: 51,
    quotactl: 60,
    acct: 89,
    personality: 92,
    kexec_load: 104,
    init_module: 105,
    delete_module: 106,
    clock_settime: 112,
    syslog: 116,
    ptrace: 117,
    reboot: 142,
    settimeofday: 170,
    add_key: 217,
    request_key: 218,
    keyctl: 219,
    swapon: 224,
    swapoff: 225,
    perf_event_open: 241,
    fanotify_init: 262,
    open_by_handle_at: 265,
    setns: 268,
    process_vm_readv: 270,
    process_vm_writev: 271,
    kcmp: 272,
    finit_module: 273,
    bpf: 280,
    userfaultfd: 282,
    kexec_file_load: 294,
  },
};

/** The table for a machine as Node names it, or undefined where we have none. */
export function syscallTable(arch: string): SyscallTable | undefined {
  switch (arch) {
    case 'x64':
      return x64;
    case 'arm64':
      return arm64;
    default:
      return undefined;
  }
}
