/** A test that CI may skip. */
interface Allowance {
  file: string;
  /** Its full name begins so. */
  test: string;
  /** What the machine is without then: nothing that a package brings in everywhere, or that a test could start. */
  lacks: string;
}

const MAY_SKIP: readonly Allowance[] = [
  {
    file: 'libs/sandbox/src/kill/standstill.spec.ts',
    test: 'a control group of v2',
    lacks: 'a hierarchy of control groups v2',
  },
  {
    file: 'libs/sandbox/src/kill/boot-time.spec.ts',
    test: 'the time since boot is CLOCK_BOOTTIME',
    lacks: 'time namespaces',
  },
  {
    file: 'libs/sandbox/src/seccomp/filter.spec.ts',
    test: 'the numbers for',
    lacks: 'the header of the kernel for that processor',
  },
];

export interface SkippedTest {
  /** Relative to the workspace. */
  file: string;
  fullName: string;
}

/** What the machine lacks that the test needs; undefined where it must not be skipped in CI. */
export function reasonOf({ file, fullName }: SkippedTest): string | undefined {
  return MAY_SKIP.find((allowed) => allowed.file === file && fullName.startsWith(allowed.test))?.lacks;
}
