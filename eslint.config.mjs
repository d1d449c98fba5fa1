// @ts-check
import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/**
 * `eslint-disable…` must say why after `--`: the strict rules below may be set aside, but only with a reason.
 * @type {import('eslint').Rule.RuleModule}
 */
const disableWithReason = {
  meta: { type: 'suggestion', schema: [], messages: { reason: 'Say why after “--”: {{directive}} … -- reason.' } },
  create: (context) => ({
    Program() {
      for (const comment of context.sourceCode.getAllComments()) {
        const [, directive, rest] = /^\s*(eslint-disable(?:-next-line|-line)?)\b(.*)$/s.exec(comment.value) ?? [];
        if (directive === undefined || /--\s*\S/.test(rest ?? '') || !comment.loc) continue;
        context.report({ loc: comment.loc, messageId: 'reason', data: { directive } });
      }
    },
  }),
};

/** Shell injection has no place to start where no shell is ever started. */
const noShell = {
  name: 'node:child_process',
  importNames: ['exec', 'execSync'],
  message: 'These start a shell. Use execFile or spawn with an argument list.',
};

/** Selectors that hold everywhere; `no-restricted-syntax` replaces its list, so that each block repeats them. */
const restrictedSyntax = [
  {
    selector: 'Property[key.name="shell"][value.value=true]',
    message: 'No shell: pass an argument list.',
  },
  {
    selector: 'TSEnumDeclaration',
    message: 'Use a union of string literals; wire enums are generated.',
  },
];

/** What libs/sandbox exports of its folder `kill`. */
const KILL_PART = [
  ...['bootId', 'bootTimeMs', 'hasProcess', 'isSameProcess', 'ownPidNamespace', 'pidNamespaceOf', 'readProcess'],
  ...['ProcessIdentity', 'ProcessView', 'KillHandle', 'handleFault', 'isGone', 'members', 'signalHandle', 'waitGone'],
];

const tests = ['**/*.spec.ts', 'test/**/*.ts'];

export default defineConfig(
  globalIgnores([
    'dist/',
    'coverage/',
    'libs/protocol/src/gen/',
    // Wrong on purpose: what the boundary check must find.
    'test/boundaries/planted/',
  ]),
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.{mjs,cjs,js}'],
    languageOptions: {
      globals: {
        ...Object.fromEntries(
          ['process', 'console', 'URL', 'Buffer', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'fetch']
            .concat(['AbortController', 'AbortSignal', 'TextDecoder', 'TextEncoder', 'performance', 'structuredClone'])
            .map((name) => [name, 'readonly']),
        ),
        module: 'writable',
        require: 'readonly',
      },
    },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    plugins: { capstan: { rules: { 'disable-with-reason': disableWithReason } } },
    languageOptions: {
      // One program for the whole workspace: a program per room would check every library once per room.
      parserOptions: { project: ['./tsconfig.check.json'], tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      'capstan/disable-with-reason': 'error',
      eqeqeq: ['error', 'always'],
      'max-lines': ['error', { max: 400 }],
      'no-console': 'error',
      'no-restricted-imports': ['error', { paths: [noShell] }],
      'no-restricted-syntax': ['error', ...restrictedSyntax],

      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: false },
      ],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/consistent-type-exports': 'error',
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],

      // Modules of Nest are classes that hold nothing but their decorator.
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true, allowStaticOnly: true }],
      // Numbers and ids stand in log lines and paths all over; an object or undefined there is still an error.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true, allowAny: false, allowNullish: false },
      ],
      // `() => socket.destroy()` and `void this.run()` are natural as handlers.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-meaningless-void-operator': 'off',
      // Nest and ioredis declare their options as classes; a literal is how they are meant to be given.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // `parse<T>(…): T` at an edge says what the caller expects.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // Control characters are what the expressions that strip them look for.
      'no-control-regex': 'off',
      // A handler or a port's method is async by its signature, whether or not this one waits.
      '@typescript-eslint/require-await': 'off',
      // tsc's noPropertyAccessFromIndexSignature is not set; both forms mean the same.
      '@typescript-eslint/dot-notation': 'off',
      // The compiler believes that `signal.aborted` is after an `await` what it was before it.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // `||` on strings treats empty as absent, which is what proto3 means by empty.
      '@typescript-eslint/prefer-nullish-coalescing': [
        'error',
        { ignorePrimitives: { string: true, boolean: true, number: true, bigint: true } },
      ],
      // `T | void` is what a callback returns that may be async or not.
      '@typescript-eslint/no-invalid-void-type': 'off',
      // Decorators read the written type of a property, never an inferred one.
      '@typescript-eslint/no-inferrable-types': ['error', { ignoreProperties: true }],
      // Its advice is what no-non-null-assertion forbids.
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      '@typescript-eslint/no-empty-function': 'off',
      '@typescript-eslint/unified-signatures': 'off',
    },
  },
  {
    // People read what these print.
    files: ['apps/cli/**/*.ts', 'scripts/**/*.ts', 'test/**/*.ts', 'libs/localmesh/**/*.ts', 'apps/**/main.ts'],
    rules: { 'no-console': 'off' },
  },
  {
    files: tests,
    rules: {
      'no-restricted-syntax': [
        'error',
        ...restrictedSyntax,
        {
          selector: 'MemberExpression[object.name=/^(it|test|describe)$/][property.name="only"]',
          message: 'Would skip every other test.',
        },
      ],
      // expect.objectContaining and its kin are `any`; a wrong shape fails the test anyway.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      // A test that is handed undefined fails, with the place.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  {
    // node runs these by stripping their types: syntax that would have to be compiled is an error there.
    files: ['scripts/**/*.ts', ...['bench', 'boundaries', 'chaos'].map((room) => `test/${room}/**/*.ts`)],
    rules: {
      'no-restricted-syntax': [
        'error',
        ...restrictedSyntax,
        { selector: 'TSParameterProperty, Decorator', message: 'node cannot strip this.' },
      ],
    },
  },
  {
    // The reaper answers when everything else hangs: of the sandbox it knows the kill part only.
    files: ['apps/orchestrator/src/reaper/**/*.ts'],
    ignores: ['**/*.spec.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          paths: [
            noShell,
            {
              name: '@capstan/sandbox',
              allowImportNames: KILL_PART,
              message: 'The reaper imports the kill part of the sandbox only.',
            },
          ],
        },
      ],
      'no-restricted-syntax': [
        'error',
        ...restrictedSyntax,
        { selector: 'ImportExpression', message: 'The reaper loads everything before it is needed.' },
      ],
    },
  },
);
