const esmOnly =
  '@nestjs|file-type|strtok3|token-types|uint8array-extras|@tokenizer|@borewit|@noble|uuid|commander|listr2|yaml|@anthropic-ai';

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
  'conformance/conformance',
  ...['audit', 'kill-all', 'key-rotation', 'leases', 'live', 'replicas', 'revocation', 'routing', 'sealed-secrets'],
  ...['stores', 'tls'],
].map((name) => (name.includes('/') ? name : `mesh/${name}`));
/** What the boundary check must refuse is no test. */
const NO_TESTS = ['/node_modules/', '/planted/'];

export default {
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['<rootDir>/{apps,libs,test}/**/*.spec.ts'],
      testPathIgnorePatterns: NO_TESTS,
    },
    {
      ...shared,
      displayName: 'mesh',
      testMatch: ['<rootDir>/test/**/*.e2e.ts'],
      testPathIgnorePatterns: [...NO_TESTS, `/test/(${LONG.join('|')})\\.e2e\\.ts$`],
    },
    { ...shared, displayName: 'long', testMatch: LONG.map((name) => `<rootDir>/test/${name}.e2e.ts`) },
  ],
};
