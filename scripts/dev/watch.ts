import { once } from 'node:events';
import { watch } from 'chokidar';

/** Editors write a file in several steps. */
const SETTLED = { stabilityThreshold: 100, pollInterval: 20 };

/** What is watched until it is closed. */
export interface Watch extends AsyncDisposable {
  /** Resolves once every change is told. */
  ready: Promise<unknown>;
}

/** Tells every file that changes below these directories, by its path as the directories are given. */
export function watchSources(directories: readonly string[], changed: (file: string) => void): Watch {
  const watcher = watch([...directories], { ignoreInitial: true, awaitWriteFinish: SETTLED });
  watcher.on('all', (_event, file) => changed(file));
  return { ready: once(watcher, 'ready'), [Symbol.asyncDispose]: () => watcher.close() };
}
