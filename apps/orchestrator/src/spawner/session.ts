import { createHash } from 'node:crypto';
import { chown, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LocalFault, type AgentId, type TaskId } from '@capstan/protocol';
import { CannotGoOn } from './cannot-go-on.js';
import { isSessionRecord, type SessionRecord } from './session-record.js';

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
    return isSessionRecord(record) ? record : 'unreadable';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'none' : 'unreadable';
  }
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
