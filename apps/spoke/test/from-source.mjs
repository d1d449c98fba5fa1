/**
 * `node --import from-source.mjs FILE.ts` runs a program of this repository from its sources, compiled as `nest build`
 * does, so that a test can start (and kill) real processes without a build.
 */
import { existsSync, readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { transformSync } from '@swc/core';

const root = new URL('../../../', import.meta.url);
const options = {
  sourceMaps: 'inline',
  module: { type: 'es6' },
  jsc: {
    target: 'es2024',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
  },
};

function sourceOf(specifier, parentURL) {
  const library = /^@capstan\/([a-z]+)$/.exec(specifier)?.[1];
  if (library !== undefined) return new URL(`libs/${library}/src/index.ts`, root);
  if (!/^\.{1,2}\/.*\.js$/.test(specifier) || !parentURL?.endsWith('.ts')) return undefined;
  const source = new URL(specifier.replace(/\.js$/, '.ts'), parentURL);
  return existsSync(source) ? source : undefined;
}

registerHooks({
  resolve(specifier, context, next) {
    const source = sourceOf(specifier, context.parentURL);
    return source === undefined ? next(specifier, context) : { url: source.href, shortCircuit: true };
  },
  load(url, context, next) {
    if (!url.startsWith(root.href) || !url.endsWith('.ts')) return next(url, context);
    const filename = fileURLToPath(url);
    const { code } = transformSync(readFileSync(filename, 'utf8'), { ...options, filename });
    return { format: 'module', source: code, shortCircuit: true };
  },
});
