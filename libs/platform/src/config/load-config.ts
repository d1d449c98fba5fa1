import 'reflect-metadata';
import { getMetadataStorage, validateSync, type ValidationError } from 'class-validator';
import { LocalFault } from '@capstan/protocol';

/**
 * Reads a process's environment once, into the class that describes it.
 *
 * Each property of `shape` that carries a class-validator decorator is the variable of the same name; an initialiser is
 * its default; an empty variable counts as unset. Numbers and booleans (`true|false|1|0`) are converted by the property's
 * declared type. `check` may add sentences about combinations that must not boot.
 *
 * @throws LocalFault `config-invalid` that names every fault at once.
 */
export function loadConfig<T extends object>(
  shape: new () => T,
  env: Readonly<Record<string, string | undefined>>,
  check: (config: T) => readonly string[] = () => [],
): T {
  const config = new shape();
  for (const name of variablesOf(shape)) {
    const text = env[name];
    if (text !== undefined && text !== '') Reflect.set(config, name, convert(shape, name, text));
  }
  const faults = validateSync(config, { forbidUnknownValues: false }).flatMap(sentencesOf);
  const all = faults.length > 0 ? faults : [...check(config)];
  if (all.length > 0) {
    throw new LocalFault('config-invalid', `The configuration cannot be used: ${all.join('; ')}.`);
  }
  return config;
}

function variablesOf(shape: new () => object): Set<string> {
  const metadata = getMetadataStorage().getTargetValidationMetadatas(shape, '', false, false);
  return new Set(metadata.map((rule) => rule.propertyName));
}

function convert(shape: new () => object, name: string, text: string): unknown {
  const type: unknown = Reflect.getMetadata('design:type', shape.prototype as object, name);
  if (type === Number) return text.trim() === '' ? Number.NaN : Number(text);
  if (type === Boolean) return booleanOf(text);
  return text;
}

/** Text that is no boolean stays text, so that the validator names it. */
function booleanOf(text: string): boolean | string {
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  return text;
}

function sentencesOf(error: ValidationError): string[] {
  return Object.values(error.constraints ?? {});
}
