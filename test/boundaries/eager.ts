import type { IModule } from 'dependency-cruiser';

/**
 * The shortest chain of files by which loading `from` loads `to`; undefined where it is loaded by import() only, or not at all.
 * dependency-cruiser's own reachability does not tell the two apart.
 */
export function eagerPath(modules: readonly IModule[], from: string, to: string): string[] | undefined {
  const loads = new Map(
    modules.map(({ source, dependencies }) => [
      source,
      dependencies
        .filter(({ dynamic, dependencyTypes }) => !dynamic && !dependencyTypes.includes('type-only'))
        .map(({ resolved }) => resolved),
    ]),
  );
  const paths: string[][] = [[from]];
  const seen = new Set([from]);
  for (let path = paths.shift(); path !== undefined; path = paths.shift()) {
    const last = path.at(-1) ?? from;
    if (last === to) return path;
    for (const next of loads.get(last) ?? []) {
      if (!seen.has(next)) paths.push([...path, next]);
      seen.add(next);
    }
  }
  return undefined;
}
