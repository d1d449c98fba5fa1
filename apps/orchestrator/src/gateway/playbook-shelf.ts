import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ApiFault } from './api-fault.js';
import { isPlaybookName, parsePlaybook, type Playbook } from './playbook.js';

export const DEFAULT_PLAYBOOK = 'repository-map';

/** Beside this file in the source and where a build copies them; else in the source of the checkout that was built. */
const SHELVES = ['./playbooks/', '../../../../../apps/orchestrator/src/gateway/playbooks/'].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
);

/** Finds playbooks by name, each read once. */
export class PlaybookShelf {
  private readonly read = new Map<string, Promise<Playbook>>();

  /** @param directory of further playbooks; they come first. */
  constructor(private readonly directory?: string) {}

  /** @param name empty for the default. @throws {ApiFault} `not_found_error` */
  async find(name: string): Promise<Playbook> {
    const wanted = name || DEFAULT_PLAYBOOK;
    if (!isPlaybookName(wanted)) throw new ApiFault('not_found_error', 'no such playbook');
    let found = this.read.get(wanted);
    if (found === undefined) {
      found = this.load(wanted);
      this.read.set(wanted, found);
      found.catch(() => this.read.delete(wanted));
    }
    return found;
  }

  private async load(name: string): Promise<Playbook> {
    for (const directory of [...(this.directory === undefined ? [] : [this.directory]), ...SHELVES]) {
      try {
        return parsePlaybook(name, await readFile(join(directory, `${name}.yaml`), 'utf8'));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    throw new ApiFault('not_found_error', `there is no playbook ${name}`);
  }
}
