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
  ...['audit/audit', 'connections/revocation', 'keys/keys', 'killswitch/killswitch', 'killswitch/probes'].map(inHub),
  ...[
    'database/kill-replay',
    'leases/leases',
    'live-logs/live-logs',
    'replicas/replicas',
    'replicas/replica-trust',
    'replicas/rolling-restart',
    'streams/streams',
  ].map(inHub),
  ...['connection/connection', 'kill/probe'].map((name) => `apps/spoke/src/${name}.spec`),
  ...['acp-runtime', 'command-runtime'].map((name) => `apps/orchestrator/src/spawner/${name}.spec`),
  ...['docker/daemon', 'docker/driver'].map((name) => `libs/sandbox/src/${name}.spec`),
  ...['monitor/stalls', 'spawner/orphans'].map((name) => `apps/orchestrator/src/${name}.spec`),
  ...['git/git-attacks', 'secret-scan/secret-scanner', 'spawner/submit'].map(
    (name) => `apps/orchestrator/src/${name}.spec`,
  ),
  'test/conformance/conformance.e2e',
  ...[
    'audit',
    'bad-models',
    'canary',
    'docker',
    'execution',
    'instance-client',
    'kill-local',
    'kill-all',
    'key-rotation',
    'kill-journal',
    'leases',
    'live',
    'replicas',
    'revocation',
    'routing',
    'sealed-secrets',
    'stores',
    'tls',
  ].map(inMesh),
];
function inHub(name) {
  return `apps/hub/src/${name}.spec`;
}
function inMesh(name) {
  return `test/mesh/${name}.e2e`;
}
/** What the boundary check must refuse is no test. */
const NO_TESTS = ['/node_modules/', '/planted/'];
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
    { ...shared, displayName: 'long', testMatch: LONG.map((name) => `<rootDir>/${name}.ts`) },
  ],
};
