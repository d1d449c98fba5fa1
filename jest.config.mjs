const esmOnly =
  '@nestjs|file-type|strtok3|token-types|uint8array-extras|@tokenizer|@borewit|@noble|uuid|commander|listr2|yaml|@anthropic-ai|@secretlint';

const shared = {
  testEnvironment: 'node',
  transform: {
    '^.+\\.[cm]?[jt]s$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2024',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
        },
        module: { type: 'commonjs' },
      },
    ],
  },
  transformIgnorePatterns: [`/node_modules/(?!(${esmOnly})(/|$))`],
  moduleNameMapper: {
    '^@capstan/([a-z]+)$': '<rootDir>/libs/$1/src/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
};

/** Long ones: `npm run test:long`, part of `npm run test:all` and so of CI. `npm test` alone stays under ten minutes. */
const LONG = [
  ...within('apps/hub/src', [
    'audit/audit.spec',
    'connections/revocation.spec',
    'database/kill-epoch-order.spec',
    'database/kill-replay.spec',
    'kill-journal/kill-journal.spec',
    'keys/keys.spec',
    'killswitch/cut-off-kill-all.spec',
    'killswitch/kill-all-statement.spec',
    'killswitch/killswitch.spec',
    'killswitch/new-enrolment.spec',
    'killswitch/refused-orders.spec',
    'killswitch/probes.spec',
    'killswitch/second-person.spec',
    'leases/leases.spec',
    'link/half-sent.spec',
    'live-logs/live-logs.spec',
    'openapi.spec',
    'replicas/bus-stranger.spec',
    'replicas/forwarded-kills.spec',
    'replicas/replica-trust.spec',
    'replicas/replicas.spec',
    'replicas/rolling-restart.spec',
    'replicas/stopped-elsewhere.spec',
    'streams/streams.spec',
  ]),
  'apps/agent/src/run-agent.spec',
  ...within('apps/orchestrator/src', [
    'git/changing-worktree.spec',
    'git/docker/harvest.spec',
    'git/git-attacks.spec',
    'git/harvest-stop.spec',
    'git/hostile-worktree.spec',
    'git/import-pack.spec',
    'git/killed-orchestrator.spec',
    'git/large-files.spec',
    'git/private-repositories.spec',
    'git/push.spec',
    'git/salvage.spec',
    'killswitch/lease-watch.spec',
    'killswitch/reaping.spec',
    'monitor/stalls.spec',
    'secret-scan/secret-scanner.spec',
    'spawner/acp-runtime.spec',
    'spawner/adoption.spec',
    'spawner/adopted-agents.spec',
    'spawner/command-runtime.spec',
    'spawner/compaction.spec',
    'spawner/denied-push.spec',
    'spawner/disk-bound.spec',
    'spawner/docker/acp-runtime.spec',
    'spawner/docker/claude-runtime.spec',
    'spawner/docker/command-runtime.spec',
    'spawner/docker/hard-repositories.spec',
    'spawner/docker/watched.spec',
    'spawner/docker/orphans.spec',
    'spawner/execution-modes.spec',
    'spawner/hard-repositories.spec',
    'spawner/many-files.spec',
    'spawner/messages.spec',
    'spawner/orphans.spec',
    'spawner/submit.spec',
    'spawner/told-running.spec',
  ]),
  ...within('apps/spoke/src', ['connection/connection.spec', 'kill/probe.spec', 'ledger/lost-replies.spec']),
  ...within('libs/sandbox/src', [
    'bubblewrap/driver.spec',
    'disk/disk-watch.spec',
    'docker/daemon.spec',
    'docker/driver.spec',
    'docker/late.spec',
  ]),
  'test/conformance/conformance.e2e',
  ...within('test/mesh', [
    'audit.e2e',
    'bad-models.e2e',
    'canary-docker.e2e',
    'canary.e2e',
    'delivery.e2e',
    'dev.e2e',
    'docker-programs.e2e',
    'docker.e2e',
    'ends-docker.e2e',
    'ends.e2e',
    'execution-docker.e2e',
    'execution.e2e',
    'hostile-agents.e2e',
    'instance-client.e2e',
    'key-rotation.e2e',
    'kill-all.e2e',
    'kill-docker.e2e',
    'kill-journal.e2e',
    'kill-local.e2e',
    'kill-under-pressure.e2e',
    'leases.e2e',
    'live.e2e',
    'replay.e2e',
    'replicas.e2e',
    'revocation.e2e',
    'routing.e2e',
    'salvage.e2e',
    'sealed-secrets.e2e',
    'stores.e2e',
    'tls.e2e',
  ]),
];
function within(room, suites) {
  return suites.map((suite) => `${room}/${suite}`);
}
/** What `npm test` leaves out for want of a part of the system. */
const LEFT_OUT = JSON.parse(process.env.CAPSTAN_LEFT_OUT ?? '[]');
/** What the boundary check must refuse is no test. */
const NO_TESTS = ['/node_modules/', '/planted/', ...LEFT_OUT];
const BRIEF = [...NO_TESTS, `/(${LONG.join('|')})\\.ts$`];

export default {
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['<rootDir>/{apps,libs,test}/**/*.spec.ts'],
      testPathIgnorePatterns: BRIEF,
    },
    { ...shared, displayName: 'mesh', testMatch: ['<rootDir>/test/**/*.e2e.ts'], testPathIgnorePatterns: BRIEF },
    {
      ...shared,
      displayName: 'long',
      testMatch: LONG.map((name) => `<rootDir>/${name}.ts`),
      testPathIgnorePatterns: NO_TESTS,
    },
    // On demand: `npm run images -- --check`.
    { ...shared, displayName: 'images', testMatch: ['<rootDir>/test/deploy/*.check.ts'] },
  ],
};
