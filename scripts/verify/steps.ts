/** One step of `npm run verify`: a name for people and the command line that proves it. */
export interface Step {
  name: string;
  command: readonly [string, ...string[]];
  /** Runs by itself, after the others: its tests look at the clock. */
  alone?: true;
}

export const STEPS: readonly Step[] = [
  { name: 'format', command: ['prettier', '--check', '--log-level', 'warn', '--cache', '.'] },
  { name: 'lint', command: ['eslint', '.', '--max-warnings', '0'] },
  { name: 'boundaries', command: ['node', 'test/boundaries/check.ts'] },
  { name: 'types', command: ['tsc', '--project', 'tsconfig.check.json'] },
  { name: 'proto lint', command: ['buf', 'lint', 'proto'] },
  { name: 'proto breaking', command: ['buf', 'breaking', 'proto', '--against', 'proto/baseline/protocol-1.binpb'] },
  { name: 'drift', command: ['node', 'scripts/verify/drift.ts'] },
  { name: 'docs drift', command: ['node', 'scripts/docs/main.ts', '--check'] },
  { name: 'build', command: ['node', 'scripts/build.mjs'] },
  {
    name: 'unit tests',
    alone: true,
    command: [
      'jest',
      // jest itself would leave one core alone; on two cores that is half of them.
      ...['--selectProjects', 'unit', '--maxWorkers', '100%'],
      ...['--reporters', 'default', '--reporters', './scripts/proofs/reporter.ts'],
    ],
  },
];
