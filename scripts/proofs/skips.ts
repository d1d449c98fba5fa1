/** A test that CI may skip. */
interface Allowance {
  file: string;
  /** Its full name begins so. */
  test: string;
  /** What the machine is without then: nothing that a package brings in everywhere, or that a test could start. */
  lacks: string;
}

const READ_ONLY_GROUP = 'kill ends what forked twice even where the control group may only be read';

const MAY_SKIP: readonly Allowance[] = [
  {
    file: 'libs/sandbox/src/kill/control-group.spec.ts',
    test: 'a control group of none that may only be read',
    lacks: 'control groups that can be made',
  },
  {
    file: 'libs/sandbox/src/bubblewrap/driver.spec.ts',
    test: `bubblewrap with the best control groups of this host ${READ_ONLY_GROUP}`,
    lacks: 'control groups that can be made',
  },
  {
    file: 'libs/sandbox/src/bubblewrap/driver.spec.ts',
    test: `bubblewrap with the v1 freezer ${READ_ONLY_GROUP}`,
    lacks: 'a freezer of v1',
  },
  {
    file: 'libs/sandbox/src/docker/driver.spec.ts',
    test: `docker ${READ_ONLY_GROUP}`,
    lacks: 'control groups that can be made',
  },
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
