import { createHash } from 'node:crypto';
import { chown, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { ProgramPolicy } from '@capstan/platform';
import { isId, LocalFault, type AgentId, type TaskId, type TenantId } from '@capstan/protocol';
import type { WorktreeRecord } from '../git/index.js';
import { CannotGoOn } from './cannot-go-on.js';
import type { SentBack, Stand } from './submission.js';

const NOTES = 'session.json';

/** Where one agent lives on the host while it lives, and as whom it runs. */
export interface Session {
  agentId: AgentId;
  directory: string;
  /** Host ids of the agent. */
  uid: number;
  gid: number;
  /** Mounted read-only at /run/capstan: the gateway's socket and the task. */
  runDirectory: string;
  socketPath: string;
}

/** What must be known to clean up after a crash; written as the start goes on. */
export interface SessionRecord {
  agentId: AgentId;
  /** Owner of the work tree's files. */
  uid: number;
  gid: number;
  worktree?: WorktreeRecord;
  /** Ref of the branch that the agent was given. */
  targetRef?: string;
  /** Whose repository the work tree is of, and which. */
  tenant?: TenantId;
  repository?: string;
  /** Which kind of the owner's programs it runs; absent where it is the built-in agent. */
  program?: ProgramPolicy['kind'];
  /** As in the work place, once something was submitted. */
  earlierTrees?: Readonly<Record<string, string>>;
  /** Where the last submission stands. */
  stand?: Stand;
  /** How often it has submitted. */
  submissions?: number;
  /** Why the last submission that was judged was sent back; absent where it was accepted. */
  refused?: SentBack | undefined;
  /** As in the work place, once something was submitted. */
  trialBytes?: number;
  /** The agent's control group; empty where it has none. */
  cgroup?: string;
  /** What goes out, noted before it does: where its end is not known, the source may have taken it. */
  pushing?: Pushing | undefined;
  /** Its work could not be saved: the work tree stays, for the owner, who is shown this by `capstan agents salvage`. */
  kept?: Kept;
}

/** A commit on its way to a branch of the source. */
export interface Pushing {
  branch: string;
  commit: string;
}

/** Since when a work tree is kept, ISO 8601, and why it could not be saved. */
export interface Kept {
  at: string;
  why: string;
}

/** The directories of agents that live, and the host uids that they use. */
export class Sessions {
  private readonly slots = new Map<AgentId, number>();

  /** @param uidBase first host uid of agents; undefined where they run as ourselves. */
  constructor(
    private readonly directory: string,
    private readonly uidBase: number | undefined,
  ) {}

  /** Keeps the uids of agents that a former life has left from new ones, until they are removed. */
  reserve(records: readonly SessionRecord[]): void {
    if (this.uidBase === undefined) return;
    for (const { agentId, uid } of records) if (uid >= this.uidBase) this.slots.set(agentId, uid - this.uidBase);
  }

  /** Makes the agent's directory; what an earlier attempt left there is gone. */
  async open(agentId: AgentId): Promise<Session> {
    const session = this.sessionOf(agentId);
    const { directory, gid } = session;
    // Traversable by every agent's uid: each sees of it what is mounted into its sandbox, and no more.
    await mkdir(this.directory, { recursive: true, mode: 0o711 });
    await rm(directory, { recursive: true, force: true });
    await this.makeDirectory(directory, 0o710, gid);
    await this.makeDirectory(session.runDirectory, 0o750, gid);
    return session;
  }

  /** The place of an agent that outlived its orchestrator, as it was. @throws CannotGoOn where its uid would be another now */
  reopen(record: SessionRecord): Session {
    this.reserve([record]);
    const session = this.sessionOf(record.agentId);
    if (session.uid !== record.uid) throw new CannotGoOn(`it runs as ${String(record.uid)}`);
    return session;
  }

  /** Writes a file that the agent may read and not change. */
  async giveFile(session: Session, name: string, text: string): Promise<void> {
    const file = join(session.runDirectory, name);
    await writeFile(file, text, { mode: 0o640, flag: 'wx' });
    if (this.uidBase !== undefined) await chown(file, 0, session.gid);
  }

  /** Notes what will have to be cleaned up. */
  async remember(record: SessionRecord): Promise<void> {
    const file = join(this.directoryOf(record.agentId), NOTES);
    // On the disk before it has its name: a power cut must not leave a torn one in the place of a whole.
    await writeFile(`${file}.new`, JSON.stringify(record), { mode: 0o600, flush: true });
    await rename(`${file}.new`, file);
    await flushDirectory(this.directoryOf(record.agentId));
  }

  /** Changes what is noted of an agent, if anything is. @throws LocalFault as `recall` */
  async amend(agentId: AgentId, changes: Partial<Omit<SessionRecord, 'agentId'>>): Promise<void> {
    const record = await this.recall(agentId);
    if (record !== undefined) await this.remember({ ...record, ...changes });
  }

  /**
   * undefined where the agent left nothing, or ended before anything was noted.
   *
   * @throws LocalFault `session-unreadable`: its work tree may be there, and nobody knows where.
   */
  async recall(agentId: AgentId): Promise<SessionRecord | undefined> {
    const directory = this.directoryOf(agentId);
    const record = await readRecord(directory);
    if (record === 'unreadable')
      throw new LocalFault('session-unreadable', 'What was noted of an agent cannot be read; it is kept.', directory);
    return record === 'none' ? undefined : record;
  }

  /** Agents of a task that have something on disk. */
  async ofTask(taskId: TaskId): Promise<AgentId[]> {
    return (await this.recallAll()).flatMap(({ agentId, worktree }) => (worktree?.taskId === taskId ? [agentId] : []));
  }

  /** What every agent that has something on disk has noted, where it can be read. */
  async recallAll(): Promise<SessionRecord[]> {
    const names = await readdir(this.directory).catch(() => []);
    const records = await Promise.all(names.map((name) => readRecord(join(this.directory, name))));
    return records.filter((record) => typeof record === 'object');
  }

  /**
   * Removes the directories in which nothing was noted and no work tree was made; at the start of the process only.
   *
   * @returns those that are removed; and those that are kept, because nobody could name what is in them: notes that cannot
   *   be read, or a work tree without any.
   */
  async removeUnknown(): Promise<{ removed: string[]; kept: string[] }> {
    const names = await readdir(this.directory).catch(() => []);
    const [removed, kept]: [string[], string[]] = [[], []];
    for (const name of names) {
      const directory = join(this.directory, name);
      const record = await readRecord(directory);
      if (typeof record === 'object') continue;
      if (record === 'unreadable' || (await holdsMore(directory))) {
        kept.push(directory);
        continue;
      }
      await rm(directory, { recursive: true, force: true, maxRetries: 3 });
      removed.push(directory);
    }
    return { removed, kept };
  }

  /** Removes the agent's directory and frees its uid. */
  async remove(agentId: AgentId): Promise<void> {
    await rm(this.directoryOf(agentId), { recursive: true, force: true, maxRetries: 3 });
    this.slots.delete(agentId);
  }

  private sessionOf(agentId: AgentId): Session {
    const [uid, gid] = this.idsOf(agentId);
    const directory = this.directoryOf(agentId);
    const runDirectory = join(directory, 'run');
    return { agentId, directory, uid, gid, runDirectory, socketPath: join(runDirectory, 'gateway.sock') };
  }

  private async makeDirectory(directory: string, mode: number, gid: number): Promise<void> {
    await mkdir(directory, { mode });
    if (this.uidBase !== undefined) await chown(directory, 0, gid);
  }

  /** A short name: a unix socket's path holds 107 bytes, an agent's id alone may have 63. */
  private directoryOf(agentId: AgentId): string {
    return join(this.directory, createHash('sha256').update(agentId).digest('hex').slice(0, 12));
  }

  /** The lowest free uid, so that no two living agents share one. */
  private idsOf(agentId: AgentId): [number, number] {
    if (this.uidBase === undefined) return [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
    const used = new Set(this.slots.values());
    let slot = this.slots.get(agentId) ?? 0;
    if (!this.slots.has(agentId)) while (used.has(slot)) slot += 1;
    this.slots.set(agentId, slot);
    return [this.uidBase + slot, this.uidBase + slot];
  }
}

/** What is noted in a directory: nothing, something that cannot be read, or a record. */
async function readRecord(directory: string): Promise<SessionRecord | 'none' | 'unreadable'> {
  try {
    const record: unknown = JSON.parse(await readFile(join(directory, NOTES), 'utf8'));
    return isRecord(record) ? record : 'unreadable';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'none' : 'unreadable';
  }
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string';
const isName: Check = (value) => typeof value === 'string' && isId(value);
const isPath: Check = (value) => typeof value === 'string' && isAbsolute(value);
const isCount: Check = (value) => Number.isSafeInteger(value) && Number(value) >= 0;
const absentOr =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const oneOf =
  <T extends string>(...texts: T[]): Check =>
  (value) =>
    texts.some((text) => text === value);

/** Of everything that belongs to it; what else is there is of a later version, and its own business. */
function objectOf<T>(fields: { [Name in keyof Required<T>]: Check }): Check {
  return (value) => isObject(value) && Object.entries<Check>(fields).every(([name, check]) => check(value[name]));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isNotes = objectOf<SessionRecord>({
  agentId: isName,
  uid: isCount,
  gid: isCount,
  worktree: absentOr(
    objectOf<WorktreeRecord>({ agentId: isName, taskId: isName, dir: isPath, adminDir: isPath, commit: isText }),
  ),
  targetRef: absentOr(isText),
  tenant: absentOr(isName),
  repository: absentOr(isText),
  program: absentOr(oneOf<ProgramPolicy['kind']>('command', 'acp')),
  earlierTrees: absentOr((value) => isObject(value) && Object.values(value).every(isText)),
  stand: absentOr(objectOf<Stand>({ onto: absentOr(isText), by: absentOr(oneOf('rebase', 'merge')) })),
  submissions: absentOr(isCount),
  refused: absentOr(objectOf<SentBack>({ code: isText, sentence: isText })),
  trialBytes: absentOr(isCount),
  cgroup: absentOr(isText),
  pushing: absentOr(objectOf<Pushing>({ branch: isText, commit: isText })),
  kept: absentOr(objectOf<Kept>({ at: isText, why: isText })),
});

function isRecord(value: unknown): value is SessionRecord {
  return isNotes(value);
}

/** Whatever else lies in an agent's directory may be its work tree. */
async function holdsMore(directory: string): Promise<boolean> {
  return (await readdir(directory)).some((name) => name !== 'run' && name !== `${NOTES}.new`);
}

async function flushDirectory(directory: string): Promise<void> {
  const handle = await open(directory);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
