import { existsSync, readFileSync } from 'node:fs';
import { seccompFilter } from './filter.js';
import { CLONE3, syscallTable } from './syscalls.js';

const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;
const EAFNOSUPPORT = 0x00050061;
const KILL = 0x80000000;

/** Runs a program as the kernel would, on one system call. */
function judge(program: Buffer, call: { arch: number; nr: number; args?: number[] }): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.nr, 0);
  data.writeUInt32LE(call.arch, 4);
  call.args?.forEach((value, index) => data.writeBigUInt64LE(BigInt(value), 16 + 8 * index));
  let accumulator = 0;
  for (let at = 0; at * 8 < program.length; at++) {
    const [code, jt, jf] = [program.readUInt16LE(at * 8), program.readUInt8(at * 8 + 2), program.readUInt8(at * 8 + 3)];
    const k = program.readUInt32LE(at * 8 + 4);
    const tests: Record<number, () => boolean> = {
      0x15: () => accumulator === k,
      0x35: () => accumulator >= k,
      0x45: () => (accumulator & k) !== 0,
    };
    const test = tests[code];
    if (test !== undefined) at += test() ? jt : jf;
    else if (code === 0x20) accumulator = data.readUInt32LE(k);
    else if (code === 0x06) return k;
    else throw new Error(`unknown instruction ${String(code)}`);
  }
  throw new Error('the program ended without a verdict');
}

describe.each(['x64', 'arm64'])('the seccomp filter for %s', (machine) => {
  const table = syscallTable(machine);
  const program = seccompFilter(machine);
  if (table === undefined || program === undefined) throw new Error('no filter');
  const verdict = (nr: number, ...args: number[]) => judge(program, { arch: table.arch, nr, args });

  it.each(Object.entries(table.denied))('denies %s', (_name, number) => {
    expect(verdict(number)).toBe(EPERM);
  });

  it('denies the calls that it must deny, by name', () => {
    const must = [
      'ptrace',
      'keyctl',
      'add_key',
      'bpf',
      'mount',
      'userfaultfd',
      'perf_event_open',
      'kexec_load',
      'io_uring_setup',
      'setns',
      'process_vm_writev',
    ];
    expect(Object.keys(table.denied)).toEqual(expect.arrayContaining(must));
  });

  it('lets threads and processes be made, but no namespace', () => {
    const threadFlags = 0x3d0f00;
    expect(verdict(table.clone, threadFlags)).toBe(ALLOW);
    expect(verdict(table.clone, 17)).toBe(ALLOW);
    for (const flag of [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]) {
      expect(verdict(table.clone, flag | 17)).toBe(EPERM);
      expect(verdict(table.unshare, flag)).toBe(EPERM);
    }
    expect(verdict(table.unshare, 0x80)).toBe(EPERM);
    expect(verdict(table.unshare, 0x400)).toBe(ALLOW);
    expect(verdict(CLONE3)).toBe(ENOSYS);
  });

  it('lets unix, internet and netlink sockets be made, and no others', () => {
    for (const family of [1, 2, 10, 16]) expect(verdict(table.socket, family)).toBe(ALLOW);
    for (const family of [17, 38, 40]) expect(verdict(table.socket, family)).toBe(EAFNOSUPPORT);
  });

  it('denies input to a terminal that the host shares, however the upper half of the request is set', () => {
    expect(verdict(table.ioctl, 0, 0x5412)).toBe(EPERM);
    expect(verdict(table.ioctl, 0, 0x5412 + 2 ** 32)).toBe(EPERM);
    expect(verdict(table.ioctl, 0, 0x5401)).toBe(ALLOW);
  });

  it('kills what calls by another architecture’s numbers', () => {
    expect(judge(program, { arch: 0x40000003, nr: 1 })).toBe(KILL);
    if (machine === 'x64') expect(verdict(0x40000000 + 101)).toBe(ENOSYS);
  });

  it('allows everything else', () => {
    for (const nr of [0, 1, 3, 59, 221, 257, 318, 435 + 1000]) {
      if (!Object.values(table.denied).includes(nr)) expect(verdict(nr)).toBe(ALLOW);
    }
  });
});

it('has no filter for a machine whose numbers it does not know', () => {
  expect(seccompFilter('riscv64')).toBeUndefined();
});

const headers = { x64: '/usr/include/x86_64-linux-gnu/asm/unistd_64.h', arm64: '/usr/include/asm-generic/unistd.h' };
describe.each(Object.entries(headers))('the numbers for %s', (machine, header) => {
  (existsSync(header) ? it : it.skip)(`are those of ${header}`, () => {
    const text = readFileSync(header, 'utf8');
    const table = syscallTable(machine);
    const { clone = 0, unshare = 0, socket = 0, ioctl = 0 } = table ?? {};
    for (const [name, number] of Object.entries({ ...table?.denied, clone, unshare, socket, ioctl })) {
      const found = new RegExp(`^#define __NR(?:3264)?_${name} (\\d+)$`, 'm').exec(text)?.[1];
      if (found !== undefined) expect({ name, number }).toEqual({ name, number: Number(found) });
    }
  });
});
