import { createHash } from 'node:crypto';
import { chown, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentId, TaskId, TenantId } from '@capstan/protocol';
import type { WorktreeRecord } from '../git/index.js';

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
  /** Whose repository the work tree is of, and which. */
  tenant?: TenantId;
  repository?: string;
  /** The agent's control group; empty where it has none. */
  cgroup?: string;
}

/** The directories of agents that live, and the host uids that they use. */
export class Sessions {
  private readonly slots = new Map<AgentId, number>();

  /** @param uidBase first host uid of agents; undefined where they run as ourselves. */
  constructor(
    private readonly directory: string,
    private readonly uidBase: number | undefined,
  ) {}

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

  /** Writes a file that the agent may read and not change. */
  async giveFile(session: Session, name: string, text: string): Promise<void> {
    const file = join(session.runDirectory, name);
    await writeFile(file, text, { mode: 0o640, flag: 'wx' });
    if (this.uidBase !== undefined) await chown(file, 0, session.gid);
  }

  /** Notes what will have to be cleaned up. */
  async remember(record: SessionRecord): Promise<void> {
    const file = join(this.directoryOf(record.agentId), 'session.json');
    await writeFile(`${file}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${file}.new`, file);
  }

  /** undefined where the agent left nothing, or ended before anything was noted. */
  async recall(agentId: AgentId): Promise<SessionRecord | undefined> {
    return readRecord(this.directoryOf(agentId));
  }

  /** Agents of a task that have something on disk. */
  async ofTask(taskId: TaskId): Promise<AgentId[]> {
    return (await this.recallAll()).flatMap(({ agentId, worktree }) => (worktree?.taskId === taskId ? [agentId] : []));
  }

  /** What every agent that has something on disk has noted. */
  async recallAll(): Promise<SessionRecord[]> {
    const names = await readdir(this.directory).catch(() => []);
    const records = await Promise.all(names.map((name) => readRecord(join(this.directory, name))));
    return records.filter((record) => record !== undefined);
  }

  /** Removes the directories in which nothing is noted that could be read; at the start of the process only. */
  async removeUnknown(): Promise<string[]> {
    const names = await readdir(this.directory).catch(() => []);
    const unknown: string[] = [];
    for (const name of names) {
      const directory = join(this.directory, name);
      if ((await readRecord(directory)) !== undefined) continue;
      await rm(directory, { recursive: true, force: true, maxRetries: 3 });
      unknown.push(directory);
    }
    return unknown;
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

async function readRecord(directory: string): Promise<SessionRecord | undefined> {
  try {
    return JSON.parse(await readFile(join(directory, 'session.json'), 'utf8')) as SessionRecord;
  } catch {
    return undefined;
  }
}
