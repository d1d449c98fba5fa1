import type { Settings } from '../src/config/settings.js';

/** In what a test's agents run. */
export interface TestSandbox {
  /** The daemon, once it is there; undefined for bubblewrap. */
  docker: () => Settings['docker'];
  /** Resolves once nothing of any agent is in it. */
  nothingIsLeft: () => Promise<void>;
}

export const BUBBLEWRAP: TestSandbox = { docker: () => undefined, nothingIsLeft: async () => undefined };
