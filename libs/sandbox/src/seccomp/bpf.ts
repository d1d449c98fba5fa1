/**
 * Assembler for the classic BPF that seccomp runs: just what a deny list needs: load, compare, return.
 *
 * Source: linux/filter.h, linux/bpf_common.h, linux/seccomp.h; all programs are for little-endian machines.
 */
export interface Instruction {
  code: number;
  /** Instructions to skip if the comparison holds, and if it does not. */
  jt: number;
  jf: number;
  k: number;
}

const BPF_LD_W_ABS = 0x20;
const BPF_JEQ_K = 0x15;
const BPF_JGE_K = 0x35;
const BPF_JSET_K = 0x45;
const BPF_RET_K = 0x06;

/** Offsets in `struct seccomp_data`. */
export const DATA = { nr: 0, arch: 4, argLow: (index: number) => 16 + 8 * index } as const;

export const RETURN = {
  allow: 0x7fff_0000,
  killProcess: 0x8000_0000,
  errno: (errno: number) => 0x0005_0000 + errno,
} as const;

export const load = (offset: number): Instruction => ({ code: BPF_LD_W_ABS, jt: 0, jf: 0, k: offset });
export const ret = (value: number): Instruction => ({ code: BPF_RET_K, jt: 0, jf: 0, k: value });

const jump = (code: number, k: number, jt: number, jf: number): Instruction => {
  if (jt > 255 || jf > 255) throw new RangeError('a BPF jump reaches 255 instructions');
  return { code, jt, jf, k };
};

/** Runs `then` if the accumulator equals `value`; `then` must end in a return or fall through to what follows. */
export const ifEqual = (value: number, then: Instruction[]): Instruction[] => [
  jump(BPF_JEQ_K, value, 0, then.length),
  ...then,
];
export const ifNotEqual = (value: number, then: Instruction[]): Instruction[] => [
  jump(BPF_JEQ_K, value, then.length, 0),
  ...then,
];
export const ifAtLeast = (value: number, then: Instruction[]): Instruction[] => [
  jump(BPF_JGE_K, value, 0, then.length),
  ...then,
];
export const ifAnyBit = (mask: number, then: Instruction[]): Instruction[] => [
  jump(BPF_JSET_K, mask, 0, then.length),
  ...then,
];

/** The program as an array of `struct sock_filter`, which is what bubblewrap's `--seccomp` reads. */
export function assemble(program: Instruction[]): Buffer {
  if (program.length > 4096) throw new RangeError('a BPF program has at most 4096 instructions');
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(({ code, jt, jf, k }, index) => {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(jt, index * 8 + 2);
    bytes.writeUInt8(jf, index * 8 + 3);
    bytes.writeUInt32LE(k >>> 0, index * 8 + 4);
  });
  return bytes;
}
