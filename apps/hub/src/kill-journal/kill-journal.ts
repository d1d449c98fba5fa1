import { mkdir, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createLogger, LocalFault } from '@capstan/platform';
import { JournalFile } from './journal-file.js';
import { type JournalContent, readJournal } from './journal-lines.js';
import { lifeOf, newName, release } from './life.js';
import { Pulse, silent } from './pulse.js';

/** Some ten thousand kills while the database is away; more are sent all the same. */
const MOST_BYTES = 16 * 1024 * 1024;

/** An entry on its way to the disk. */
export interface JournalEntry {
  /** Resolves once it is on disk. @throws LocalFault `kill-journal`, where a disk is full or gone */
  readonly written: Promise<void>;
  /** The database has it: it may be forgotten. */
  done(): void;
}

/** What an earlier life of a hub has not brought to the database. */
export interface LeftBehind<T> extends JournalContent<T> {
  readonly path: string;
}

/**
 * What the hub has ordered and its database has not taken yet, on the hub's own disk: so a kill outlives a hub that is
 * killed while PostgreSQL is away. Each process writes a file of its own, so that hubs may share the directory; who starts
 * takes over those of processes that are gone. Who cannot see the processes of others, in a container or on another machine,
 * takes only what nobody touches. Where everything is in the database, the file is empty.
 */
export class KillJournal<T> {
  private readonly log = createLogger('hub.kill-journal');
  private file: JournalFile | undefined;
  private opening: Promise<JournalFile> | undefined;
  private outstanding = 0;
  /** Written to no longer, after a failure; kept until everything is in the database. */
  private broken: string[] = [];
  private readonly pulse = new Pulse();

  constructor(private readonly directory: string) {}

  /** Makes the file ahead of the first kill. Never rejects: a kill does without a disk. */
  async prepare(): Promise<void> {
    await this.current().catch((err: unknown) => {
      this.log.error({
        err,
        msg: 'the journal of kills cannot be made; kills that PostgreSQL has not taken end with this process',
      });
    });
  }

  /** Takes over what processes that are gone have left; whoever calls says `settle` when it is in the database. */
  async takeOver(): Promise<LeftBehind<T>[]> {
    const found: LeftBehind<T>[] = [];
    for (const name of await this.leftBehind()) {
      const path = join(this.directory, newName());
      try {
        await rename(join(this.directory, name), path);
        this.pulse.add(path, () => undefined);
        found.push({ path, ...readJournal<T>(await readFile(path)) });
      } catch (err) {
        // Another hub that starts has been quicker, or the disk cannot be read: kills go on either way.
        this.log.warn({ err, name, msg: 'a journal of kills was not taken over' });
      }
    }
    return found;
  }

  private async leftBehind(): Promise<string[]> {
    const names = await readdir(this.directory).catch(() => []);
    const unseen = names.filter((name) => lifeOf(name) === 'unseen').map((name) => join(this.directory, name));
    const left = (await silent(unseen)).map((path) => nameOf(path));
    return [...names.filter((name) => lifeOf(name) === 'over'), ...left].sort();
  }

  /** Everything whole in it is in the database. What is damaged is put aside for people to look at. */
  async settle({ path, damaged }: LeftBehind<T>): Promise<void> {
    this.pulse.remove(path);
    if (damaged.length === 0) await unlink(path);
    else await rename(path, `${path}.damaged`);
    release(nameOf(path));
  }

  /** Begins to write an entry down; it counts until it is done. */
  append(entry: T): JournalEntry {
    this.outstanding += 1;
    const done = Promise.withResolvers<void>();
    const written = this.write(entry);
    const isOver = async (): Promise<void> => {
      await Promise.allSettled([written, done.promise]);
      this.outstanding -= 1;
      if (this.outstanding === 0) await this.forget();
    };
    isOver().catch((err: unknown) => {
      this.log.warn({ err, msg: 'the journal of kills was not emptied' });
    });
    return { written, done: done.resolve };
  }

  /** What is not in the database stays on disk, for the next start. */
  async close(): Promise<void> {
    const { file } = this;
    if (file === undefined) return;
    this.file = undefined;
    this.pulse.remove(file.path);
    await file.close();
    if (this.outstanding === 0)
      await file.remove().catch((err: unknown) => {
        this.log.error({ err, msg: 'somebody has taken the journal of kills of a hub that lives' });
      });
    release(nameOf(file.path));
    for (const path of this.broken) {
      this.pulse.remove(path);
      release(nameOf(path));
    }
  }

  private async write(entry: T): Promise<void> {
    const file = await this.current();
    if (file.size > MOST_BYTES) throw new LocalFault('kill-journal', 'The journal of kills is full.', file.path);
    await file.append(entry);
  }

  /** The file that is written to; a new one after a failure. */
  private async current(): Promise<JournalFile> {
    const { file } = this;
    if (file?.hasFailed === true) {
      this.file = undefined;
      this.broken.push(file.path);
      await file.close().catch(() => undefined);
    }
    if (this.file !== undefined) return this.file;
    this.opening ??= this.make().finally(() => {
      this.opening = undefined;
    });
    return this.opening;
  }

  private async make(): Promise<JournalFile> {
    const name = newName();
    try {
      await mkdir(this.directory, { recursive: true, mode: 0o700 });
      const file = await JournalFile.make(join(this.directory, name));
      this.file = file;
      this.pulse.add(file.path, () => {
        this.gone(file);
      });
      return file;
    } catch (cause) {
      release(name);
      throw new LocalFault('kill-journal', 'The journal of kills cannot be made.', this.directory, { cause });
    }
  }

  /** Another hub believes that this one has ended, or a person has tidied up: what is written there is read by nobody here. */
  private gone(file: JournalFile): void {
    const { path } = file;
    this.log.error({ path, msg: 'somebody has taken the journal of kills of a hub that lives; it begins another' });
    if (this.file !== file) return;
    this.file = undefined;
    void file.close().catch(() => undefined);
    void this.prepare();
  }

  private async forget(): Promise<void> {
    this.file?.empty();
    const broken = this.broken.splice(0);
    for (const path of broken) {
      this.pulse.remove(path);
      await unlink(path);
      release(nameOf(path));
    }
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
