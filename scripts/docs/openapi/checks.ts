import 'reflect-metadata';
import { pathToFileURL } from 'node:url';
import { getMetadataStorage } from 'class-validator';
import type ts from 'typescript';
import type { Schema } from './answers.ts';

/** A class of the application: a controller, or what it takes. */
export type Class = abstract new (...parts: never[]) => object;

/** The classes of an app's controllers and requests, those of the libraries included, by name. */
export async function classesOf(program: ts.Program, app: string): Promise<Map<string, Class>> {
  const found = new Map<string, Class>();
  for (const { fileName } of program.getSourceFiles()) {
    if (!/\.(?:controller|dto)\.ts$/.test(fileName)) continue;
    if (!fileName.includes(`/apps/${app}/`) && !fileName.includes('/libs/')) continue;
    const exported = (await import(pathToFileURL(fileName).href)) as Record<string, unknown>;
    for (const each of Object.values(exported)) if (typeof each === 'function') found.set(each.name, each as Class);
  }
  return found;
}

/** Classes of the parameters of a controller's method. */
export function parametersOf(controller: Class, method: string): Class[] {
  const types = Reflect.getMetadata('design:paramtypes', controller.prototype as object, method) as unknown[];
  return types.filter((each): each is Class => typeof each === 'function');
}

/** The schema of a request with all that is checked of it: see `checkedProperty`. */
export function checkedSchema(schema: Schema, type: Class): Schema {
  const properties = Object.entries((schema['properties'] ?? {}) as Record<string, Schema>);
  if (properties.length === 0) return schema;
  const checked = properties.map(([name, each]) => [name, checkedProperty(each, type, name)]);
  return { ...schema, properties: Object.fromEntries(checked) as Record<string, Schema> };
}

/**
 * A property with what the application itself checks and @nestjs/swagger's plugin does not see: patterns that are constants
 * of the source, and that a number must be whole.
 *
 * @throws Error where a pattern cannot be said in a schema
 */
export function checkedProperty(schema: Schema, type: Class, name: string): Schema {
  const checks = getMetadataStorage().getTargetValidationMetadatas(type, '', false, false);
  return checks
    .filter(({ propertyName }) => propertyName === name)
    .reduce((known, { name: check, constraints, each }) => {
      const demanded = demandOf(check, constraints as unknown[] | undefined, `${type.name}.${name}`);
      if (demanded === undefined) return known;
      return each ? { ...known, items: { ...(known['items'] as Schema), ...demanded } } : { ...known, ...demanded };
    }, schema);
}

function demandOf(check: string | undefined, constraints: unknown[] | undefined, where: string): Schema | undefined {
  if (check === 'isInt') return { type: 'integer' };
  const pattern = check === 'matches' ? constraints?.[0] : undefined;
  if (!(pattern instanceof RegExp)) return undefined;
  if (/[^u]/.test(pattern.flags)) throw new Error(`${where}: no schema can say /${pattern.source}/${pattern.flags}`);
  return { pattern: pattern.source };
}
