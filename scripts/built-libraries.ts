/**
 * `node --import` hook for programs that run beside the product: `@capstan/<lib>` is the built library, the very code that the
 * apps run, instead of its source.
 */
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const libraries = join(import.meta.dirname, '../dist/libs');

registerHooks({
  resolve(specifier, context, next) {
    const name = /^@capstan\/([a-z]+)$/.exec(specifier)?.[1];
    if (name === undefined) return next(specifier, context);
    return { url: pathToFileURL(join(libraries, name, 'src/index.js')).href, shortCircuit: true };
  },
});
