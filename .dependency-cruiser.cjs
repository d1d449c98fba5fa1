// @ts-check
/**
 * Who may import whom: the table of the design, to the letter. What is not listed is forbidden.
 * `npm run lint:boundaries` cruises the tree, then test/boundaries/planted, where every rule below is broken once
 * and must be reported.
 */
const LIBS = ['protocol', 'identity', 'link', 'evidence', 'sandbox', 'platform', 'localmesh'];
const APPS = ['hub', 'spoke', 'orchestrator', 'coordinator', 'agent', 'web', 'cli'];

/** Room → the libraries it may import. */
const MAY_IMPORT = {
  'libs/protocol': [],
  'libs/identity': ['protocol'],
  'libs/link': ['identity', 'protocol'],
  'libs/evidence': ['identity', 'protocol'],
  'libs/sandbox': [],
  'libs/platform': ['protocol'],
  'libs/localmesh': ['protocol', 'identity'],
  'apps/hub': ['protocol', 'identity', 'link', 'evidence', 'platform'],
  'apps/spoke': ['protocol', 'identity', 'link', 'evidence', 'platform'],
  'apps/orchestrator': ['protocol', 'identity', 'evidence', 'sandbox', 'platform'],
  'apps/coordinator': ['protocol', 'identity', 'evidence', 'sandbox', 'platform'],
  'apps/agent': ['protocol'],
  'apps/web': ['protocol'],
  // localmesh lazily: test/boundaries/eager.ts.
  'apps/cli': ['protocol', 'identity', 'link', 'evidence', 'localmesh'],
};

/** @param {readonly string[]} names */
const oneOf = (names) => `(?:${names.join('|')})`;
const REAPER = '^apps/orchestrator/src/reaper/';
/** Support of tests: the workspace's, or a room's own. */
const TEST = ['^test/', '^(?:apps|libs)/[^/]+/test/'];
const SPEC = '\\.spec\\.ts$';

/** @type {import('dependency-cruiser').IForbiddenRuleType[]} */
const rooms = Object.entries(MAY_IMPORT).map(([room, allowed]) => {
  const forbidden = LIBS.filter((lib) => `libs/${lib}` !== room && !allowed.includes(lib));
  return {
    name: `${room.replace('/', '-')}-imports`,
    comment: `${room} may import ${allowed.join(', ') || 'no library'}.`,
    severity: 'error',
    from: { path: `^${room}/` },
    to: { path: `^libs/${oneOf(forbidden)}/` },
  };
});

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    ...rooms,
    {
      name: 'no-cycle',
      comment: 'Two files that import each other are one file, or three. Types count.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'library-by-index',
      comment: 'A library is imported by its index only.',
      severity: 'error',
      from: { path: '^(?:libs/([^/]+)/|apps/|test/|scripts/)' },
      to: { path: `^libs/${oneOf(LIBS)}/`, pathNot: ['^libs/[^/]+/src/index\\.ts$', '^libs/$1/'] },
    },
    {
      name: 'library-imports-app',
      comment: 'A library knows no app.',
      severity: 'error',
      from: { path: '^libs/' },
      to: { path: '^apps/' },
    },
    {
      name: 'app-imports-app',
      comment: 'No app imports another app: they meet on the wire.',
      severity: 'error',
      from: { path: `^apps/${oneOf(APPS).replace('?:', '')}/` },
      to: { path: '^apps/', pathNot: '^apps/$1/' },
    },
    {
      name: 'test-imports-app',
      comment: 'What crosses rooms is tested from outside: the apps run as processes.',
      severity: 'error',
      from: { path: '^(?:test|scripts)/' },
      to: { path: '^apps/' },
    },
    {
      name: 'conformance-alone',
      comment: 'The hostile peer knows the document, ws and node: what it judges it must not share.',
      severity: 'error',
      from: { path: '^test/conformance/', pathNot: '\\.e2e\\.ts$' },
      to: {
        path: ['^(?:apps|libs|scripts|test)/', '(?:^|/)node_modules/'],
        pathNot: ['^test/conformance/', '(?:^|/)node_modules/(?:@types/)?(?:ws|node)/'],
      },
    },
    {
      name: 'product-imports-test',
      comment: 'Only specs import test support.',
      severity: 'error',
      from: { path: '^(?:apps|libs)/', pathNot: [SPEC, ...TEST] },
      to: { path: [...TEST, '^scripts/', SPEC] },
    },
    {
      name: 'reaper-imports',
      comment: 'The reaper imports protocol, identity and the kill part of sandbox; nothing else of ours.',
      severity: 'error',
      from: { path: REAPER, pathNot: SPEC },
      to: { path: '^(?:apps|libs)/', pathNot: [REAPER, '^libs/(?:protocol|identity|sandbox)/'] },
    },
    {
      name: 'reaper-packages',
      comment: 'The reaper has no framework: node, and what its libraries bring.',
      severity: 'error',
      from: { path: REAPER, pathNot: SPEC },
      to: { path: '(?:^|/)node_modules/' },
    },
    {
      name: 'sandbox-packages',
      comment: 'The reaper loads libs/sandbox: node only.',
      severity: 'error',
      from: { path: '^libs/sandbox/src/', pathNot: SPEC },
      to: { path: '(?:^|/)node_modules/', pathNot: '(?:^|/)node_modules/(?:@types|dockerode)/' },
    },
    {
      name: 'dockerode-lazily',
      comment: 'The driver of Docker loads its client on first use: the reaper loads libs/sandbox, and never needs it.',
      severity: 'error',
      from: { path: '^libs/sandbox/src/', pathNot: SPEC },
      to: {
        path: '(?:^|/)node_modules/(?:@types/)?dockerode/',
        dynamic: false,
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'kill-part-alone',
      comment: 'The part of the sandbox that kills and observes knows no driver.',
      severity: 'error',
      from: { path: '^libs/sandbox/src/kill/', pathNot: SPEC },
      to: { path: '^libs/sandbox/src/', pathNot: '^libs/sandbox/src/kill/' },
    },
    {
      name: 'reaper-is-a-process',
      comment: 'The orchestrator reaches its reaper by the socket, never by an import.',
      severity: 'error',
      from: { path: '^apps/orchestrator/src/', pathNot: [REAPER, SPEC] },
      to: { path: REAPER },
    },
    {
      name: 'browser-safe',
      comment: 'protocol and web run in a browser.',
      severity: 'error',
      from: { path: '^(?:libs/protocol|apps/web)/src/', pathNot: SPEC },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'no-nest-here',
      comment: 'Nest stays in the servers and in libs/platform.',
      severity: 'error',
      from: { path: ['^libs/', '^apps/(?:cli|agent|web)/'], pathNot: '^libs/platform/' },
      to: { path: '(?:^|/)node_modules/@nestjs/' },
    },
    {
      name: 'no-development-package',
      comment: 'The product runs on dependencies, not on devDependencies.',
      severity: 'error',
      from: { path: '^(?:apps|libs)/[^/]+/src/', pathNot: SPEC },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'], pathNot: '(?:^|/)node_modules/@types/' },
    },
    {
      name: 'resolvable',
      comment: 'An import that is not found is checked by no other rule.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(?:dist|coverage|test/boundaries/planted)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      mainFields: ['module', 'main', 'types', 'typings'],
    },
  },
};
