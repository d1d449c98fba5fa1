import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type Docker from 'dockerode';
import { SandboxFault } from '../sandbox-fault.js';

/** Docker's own default; what it listens on where nobody says otherwise. */
export const DEFAULT_SOCKET = '/var/run/docker.sock';
/** A daemon that is silent for so long hangs. Importing an image may take longer. */
const ANSWER_MS = 20_000;
const IMPORT_MS = 300_000;

export interface FoundContainer {
  id: string;
  name: string;
  labels: Readonly<Record<string, string>>;
}

export interface ContainerState {
  running: boolean;
  /** Host pid of its init; 0 where it does not run. */
  pid: number;
  exitCode: number;
  outOfMemory: boolean;
}

/** The part of Docker's API that sandboxes need. Every call ends: a daemon that hangs is a fault, not a wait. */
export class Daemon {
  private client: Promise<Docker> | undefined;

  /** @param importMs for how long an import may take, from its first byte to Docker's last word. */
  constructor(
    readonly socketPath: string = DEFAULT_SOCKET,
    private readonly importMs = IMPORT_MS,
  ) {}

  /** @throws SandboxFault `sandbox-failed`, as every method here: it names what Docker said, or that it did not answer */
  async info(): Promise<{ version: string; securityOptions: string[] }> {
    const info = (await this.ask('info', (docker) => docker.info())) as Record<string, unknown>;
    const options = info['SecurityOptions'];
    return {
      version: String(info['ServerVersion']),
      securityOptions: Array.isArray(options) ? options.map(String) : [],
    };
  }

  async hasImage(name: string): Promise<boolean> {
    return (await this.unlessMissing('inspect image', (docker) => docker.getImage(name).inspect())) !== undefined;
  }

  async importImage(archive: Readable, repository: string, tag: string): Promise<void> {
    const stop = new AbortController();
    const importing = async (docker: Docker): Promise<string> =>
      text((await docker.importImage(archive, { repo: repository, tag, abortSignal: stop.signal })) as Readable);
    try {
      // Docker says 200 before it has begun; what it could not do stands in its answer.
      const said = await this.ask('import', importing, this.importMs);
      const complaint = complaintIn(said);
      if (complaint !== undefined) throw fault('import', new Error(complaint));
    } finally {
      stop.abort();
      archive.destroy();
    }
  }

  async removeImage(name: string): Promise<void> {
    await this.unlessMissing('remove image', (docker) => docker.getImage(name).remove({ force: true }));
  }

  /** @returns its id. One that Docker makes when nobody waits for it any more is removed as soon as it comes. */
  async create(options: Docker.ContainerCreateOptions): Promise<string> {
    let isAwaited = true;
    const making = async (docker: Docker): Promise<string> => {
      const { id } = await docker.createContainer(options);
      if (!isAwaited) await this.remove(id);
      return id;
    };
    try {
      const id = await this.unlessMissing('create', making);
      if (id !== undefined) return id;
    } finally {
      isAwaited = false;
    }
    // Source: Docker's API, ContainerCreate: 404 is "no such image".
    throw new SandboxFault('sandbox-failed', 'Docker has no such image of agents, and pulls none.', options.Image);
  }

  async start(id: string): Promise<void> {
    await this.ask('start', (docker) => docker.getContainer(id).start());
  }

  /** undefined where there is no such container. */
  async inspect(id: string): Promise<ContainerState | undefined> {
    const found = await this.unlessMissing('inspect', (docker) => docker.getContainer(id).inspect());
    if (found === undefined) return undefined;
    const { Running, Pid, ExitCode, OOMKilled } = found.State;
    return { running: Running, pid: Pid, exitCode: ExitCode, outOfMemory: OOMKilled };
  }

  /** Whether Docker has noted, since then, that the kernel ended something in the container for want of memory. */
  async hasRunOutOfMemory(id: string, sinceMs: number): Promise<boolean> {
    const noted = await this.ask('events', async (docker) => {
      const stream = await docker.getEvents({
        since: sinceMs / 1000,
        // Docker answers when that moment has come: a whole second rounded up would be waited for.
        until: Date.now() / 1000,
        filters: { container: [id], event: ['oom'] },
      });
      const pieces: string[] = [];
      for await (const piece of stream) pieces.push(String(piece));
      return pieces.join('');
    });
    return noted.includes(id);
  }

  /** Resolves when the container has ended, however long that takes; rejects where the daemon goes away. */
  async ended(id: string, signal: AbortSignal): Promise<void> {
    const docker = await this.connect();
    await docker.getContainer(id).wait({ abortSignal: signal });
  }

  /** Kills what runs of it, and removes it with its volumes; one that is not there is removed already. */
  async remove(id: string): Promise<void> {
    await this.unlessMissing('remove', (docker) => docker.getContainer(id).remove({ force: true, v: true }));
  }

  /** Running or not, whatever has all of these labels. */
  async find(labels: Readonly<Record<string, string>>): Promise<FoundContainer[]> {
    const wanted = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
    const found = await this.ask('list', (docker) => docker.listContainers({ all: true, filters: { label: wanted } }));
    // Docker's names begin with a slash.
    return found.map(({ Id, Names, Labels }) => ({ id: Id, name: Names[0]?.slice(1) ?? '', labels: Labels }));
  }

  private async unlessMissing<T>(what: string, call: (docker: Docker) => Promise<T>): Promise<T | undefined> {
    try {
      return await this.ask(what, call);
    } catch (error) {
      if (error instanceof SandboxFault && statusOf(error.cause) === 404) return undefined;
      throw error;
    }
  }

  private async ask<T>(what: string, call: (docker: Docker) => Promise<T>, patienceMs = ANSWER_MS): Promise<T> {
    const docker = await this.connect();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${String(patienceMs)} ms`)), patienceMs);
    });
    try {
      return await Promise.race([call(docker), late]);
    } catch (error) {
      throw fault(what, error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Loaded on first use: it is 70 MB of memory, which the reaper must not pay for the index that it shares with us. */
  private connect(): Promise<Docker> {
    this.client ??= import('dockerode').then(({ default: Client }) => new Client({ socketPath: this.socketPath }));
    return this.client;
  }
}

function fault(what: string, cause: unknown): SandboxFault {
  const said = cause instanceof Error ? cause.message : String(cause);
  return new SandboxFault('sandbox-failed', `Docker could not do this: ${what}.`, said, { cause });
}

/** Of the lines of JSON with which Docker tells how an import goes, the first that tells of a failure. */
function complaintIn(said: string): string | undefined {
  for (const line of said.split('\n')) {
    if (line.trim() === '') continue;
    const { error } = lineOf(line);
    if (error !== undefined) return typeof error === 'string' ? error : JSON.stringify(error);
  }
  return undefined;
}

/** One that cannot be read is a failure as well: nobody knows what was imported. */
function lineOf(line: string): { error?: unknown } {
  try {
    return Object(JSON.parse(line)) as { error?: unknown };
  } catch {
    return { error: `not understood: ${line.slice(0, 200)}` };
  }
}

function statusOf(error: unknown): number | undefined {
  return typeof error === 'object' && error !== null && 'statusCode' in error ? Number(error.statusCode) : undefined;
}
