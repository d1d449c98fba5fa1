import { existsSync, readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { before as swaggerPlugin } from '@nestjs/swagger/plugin';
import { type Options, transformSync } from '@swc/core';
import ts from 'typescript';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const OURS = new RegExp(`^${ROOT}(?:apps|libs)/.*\\.ts$`);

/**
 * The product's sources as one program, which from now on this process can also import: as they stand, with the metadata
 * of Nest's decorators and what @nestjs/swagger's plugin reads from types, checks and docstrings.
 *
 * @param entries paths from the root of the checkout
 */
export function sourcesFrom(entries: readonly string[]): ts.Program {
  const { config } = ts.readConfigFile(`${ROOT}tsconfig.json`, (file) => ts.sys.readFile(file)) as { config: unknown };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const rootNames = entries.map((entry) => `${ROOT}${entry}`);
  const program = ts.createProgram({ rootNames, options: { ...options, sourceMap: false, outDir: `${ROOT}dist` } });
  registerHooks({
    resolve(specifier, context, next) {
      const library = /^@capstan\/([a-z]+)$/.exec(specifier)?.[1];
      if (library !== undefined) return ours(`${ROOT}libs/${library}/src/index.ts`);
      if (specifier.startsWith('.') && context.parentURL !== undefined) {
        const file = fileURLToPath(new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL));
        if (OURS.test(file) && existsSync(file)) return ours(file);
      }
      return next(specifier, context);
    },
    load(url, context, next) {
      const file = url.startsWith('file:') ? fileURLToPath(url) : '';
      if (!OURS.test(file)) return next(url, context);
      return { format: 'module', source: emitted(program, file), shortCircuit: true };
    },
  });
  return program;
}

function ours(file: string): { url: string; shortCircuit: true } {
  return { url: pathToFileURL(file).href, shortCircuit: true };
}

/** What @nestjs/swagger's plugin reads. It needs the compiler, which takes ten times as long as SWC. */
const DESCRIBED = /\.(?:controller|dto)\.ts$/;

function emitted(program: ts.Program, file: string): string {
  if (!DESCRIBED.test(file)) return transformSync(readFileSync(file, 'utf8'), SWC).code;
  let text = '';
  const plugin = swaggerPlugin(
    { introspectComments: true, controllerKeyOfComment: 'description', esmCompatible: true },
    program,
  );
  program.emit(program.getSourceFile(file), (_name, written) => (text = written), undefined, false, {
    before: [plugin as ts.TransformerFactory<ts.SourceFile>],
  });
  return text;
}

const SWC: Options = {
  sourceMaps: false,
  module: { type: 'es6' },
  jsc: {
    target: 'es2024',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
  },
};
