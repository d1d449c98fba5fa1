import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { MeshInstance } from '@capstan/localmesh';
import { git } from './repository.js';
import { until } from './until.js';

/** What is kept is read in a sandbox of its own first. */
const PATIENCE_MS = 120_000;

/** Waits until the unfinished work of an agent is kept in its instance. @returns content of a file of it */
export function salvaged(instance: MeshInstance, agentId: string, path: string): Promise<string> {
  const isKept = (): string | undefined => {
    for (const repository of repositoriesOf(instance)) {
      if (refsOf(repository, agentId) !== '') return git(repository, 'show', `refs/capstan/salvage/${agentId}:${path}`);
    }
    return undefined;
  };
  return until(`the work of ${agentId} is kept`, isKept, PATIENCE_MS);
}

/** Whether anything of the agent's work is kept in its instance. */
export function isSalvaged(instance: MeshInstance, agentId: string): boolean {
  return repositoriesOf(instance).some((repository) => refsOf(repository, agentId) !== '');
}

function refsOf(repository: string, agentId: string): string {
  return git(repository, 'for-each-ref', `refs/capstan/salvage/${agentId}`);
}

function repositoriesOf({ dir }: MeshInstance): string[] {
  const root = join(dir, 'repositories');
  return readdirSync(root)
    .filter((name) => name.endsWith('.salvage'))
    .map((name) => join(root, name));
}
