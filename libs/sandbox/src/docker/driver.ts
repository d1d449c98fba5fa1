import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DiskWatch, DiskWatcher } from '../disk/disk-watch.js';
import { parseDiskTerms } from '../disk/terms.js';
import { waitGone, signalHandle, type KillHandle } from '../kill/handle.js';
import { bootId, readProcess } from '../kill/process.js';
import type { AdoptedSandbox, PreparedSandbox, SandboxDriver, SandboxProbe, SandboxSpec } from '../port.js';
import { SandboxFault } from '../sandbox-fault.js';
import { checkSpec } from '../spec/check-spec.js';
import { containerOptions } from './container-options.js';
import { Daemon } from './daemon.js';
import { AdoptedContainer, DockerSandbox, exitOf } from './docker-sandbox.js';
import { enforcedOn, killGroupOf } from './enforced.js';
import { Gate } from './gate.js';
import { provideLocalImage } from './local-image.js';

export interface DockerOptions {
  /** Docker's unix socket; containers need the paths of this host, so that no other kind of address will do. */
  socketPath?: string;
  /** Image of agents; default one that is made of this host's own programs, see `provideLocalImage`. */
  image?: string;
  /** Programs that a local image has beside the usual ones, by name or absolute path. */
  programs?: readonly string[];
  /** Where the pipes of sandboxes are made; the same path for this process and for Docker. */
  room?: string;
  /** Whose sandboxes these are, e.g. the instance's directory: `removeLeftovers` touches no other owner's. Default ''. */
  owner?: string;
  /** Default one of the driver's own. */
  disk?: DiskWatcher;
}

const LABEL = { agent: 'capstan.agent', owner: 'capstan.owner', disk: 'capstan.disk' } as const;
const END_PATIENCE_MS = 5000;
const GONE = 'The sandbox was gone before it could be named.';
/** Docker modes in which the ids inside are not those of the host: an agent could not reach its own work tree. */
const UNUSABLE = ['name=rootless', 'name=userns'];

/** Sandboxes by Docker: one container each, without network, capabilities or a way to gain any. */
export class DockerDriver implements SandboxDriver {
  readonly name = 'docker';
  private readonly daemon: Daemon;
  private readonly room: string;
  private readonly owner: string;
  private readonly disk: DiskWatcher;
  private image: Promise<string> | undefined;

  constructor(private readonly options: DockerOptions = {}) {
    this.daemon = new Daemon(options.socketPath);
    this.room = options.room ?? tmpdir();
    this.owner = createHash('sha256')
      .update(options.owner ?? '')
      .digest('hex')
      .slice(0, 16);
    this.disk = options.disk ?? new DiskWatcher();
  }

  async probe(): Promise<SandboxProbe> {
    let version: string | undefined;
    try {
      const info = await this.daemon.info();
      version = info.version;
      const mode = info.securityOptions.find((option) => UNUSABLE.some((name) => option.startsWith(name)));
      if (mode !== undefined) {
        return { available: false, version, reason: `Docker runs with ${mode}, where ids inside are not the host's.` };
      }
      const ids = { uid: process.getuid?.() || 65_534, gid: process.getgid?.() || 65_534 };
      const sandbox = await this.prepare({ ...PROBE, ...ids });
      await sandbox.abort();
      await sandbox.dispose();
    } catch (error) {
      const detail = error instanceof SandboxFault ? error.message : String(error);
      return { available: false, reason: `Docker cannot make a sandbox here: ${detail}`, ...(version && { version }) };
    }
    return { available: true, version };
  }

  async prepare(spec: SandboxSpec): Promise<PreparedSandbox> {
    checkSpec(spec);
    const isRoot = process.getuid?.() === 0;
    const uid = isRoot ? spec.uid : (process.getuid?.() ?? spec.uid);
    const gid = isRoot ? spec.gid : (process.getgid?.() ?? spec.gid);
    const measured = this.disk.termsOf(spec);
    const image = await this.provideImage();
    await mkdir(this.room, { recursive: true, mode: 0o700 });
    const name = `${this.prefix(spec.agentId)}${randomBytes(4).toString('hex')}`;
    const gate = await Gate.make(join(this.room, name), spec, uid, gid);
    let id: string | undefined;
    try {
      const terms = await measured;
      const labels = { ...this.labelsOf(spec.agentId), ...(terms && { [LABEL.disk]: JSON.stringify(terms) }) };
      id = await this.daemon.create(containerOptions({ spec, image, name, labels, uid, gid, gateMounts: gate.mounts }));
      await this.daemon.start(id);
      const handle = await this.handleOf(id);
      if (handle === undefined) throw new SandboxFault('sandbox-failed', GONE);
      const enforced = enforcedOn(initOf(handle), spec.limits, isRoot);
      const exited = exitOf(this.daemon, id, handle, spec.limits.memoryBytes !== undefined);
      const outputs = await gate.ready(exited);
      const disk = terms && new DiskWatch(this.disk, spec.agentId, terms, handle);
      return new DockerSandbox(this.daemon, id, gate, spec.env, handle, enforced, outputs, exited, disk);
    } catch (error) {
      // What a daemon that hangs makes too late waits for a GO that never comes, until it is removed or swept by its label.
      if (id !== undefined) await this.daemon.remove(id).catch(() => undefined);
      await gate.remove();
      throw error;
    }
  }

  async adopt(agentId: string, handle: KillHandle): Promise<AdoptedSandbox | undefined> {
    for (const { id, name, labels } of await this.daemon.find(this.labelsOf(agentId))) {
      // A harvest of the same agent has the same labels: what is registered tells them apart.
      const found = await this.handleOf(id);
      if (found === undefined || !isSameHandle(found, handle)) continue;
      const label = labels[LABEL.disk];
      const disk = label === undefined ? undefined : this.diskWatchOf(agentId, label, found);
      const { gate, outputs } = Gate.adopt(join(this.room, name));
      const released = new AbortController();
      const exited = exitOf(this.daemon, id, found, true, released.signal);
      return new AdoptedContainer(this.daemon, id, gate, found, outputs, exited, disk, released);
    }
    return undefined;
  }

  async removeLeftovers(agentId: string): Promise<number[]> {
    const found = await this.daemon.find(this.labelsOf(agentId));
    const pids: number[] = [];
    for (const { id } of found) {
      const handle = await this.handleOf(id).catch(() => undefined);
      if (handle !== undefined) {
        pids.push(...handle.processes.map(({ pid }) => pid));
        await signalHandle(handle);
        if (!(await waitGone(handle, END_PATIENCE_MS))) {
          throw new SandboxFault('sandbox-busy', 'A sandbox that was left cannot be ended.', id);
        }
      }
      await this.daemon.remove(id);
    }
    const prefix = this.prefix(agentId);
    for (const name of existsSync(this.room) ? await readdir(this.room) : []) {
      if (name.startsWith(prefix)) await rm(join(this.room, name), { recursive: true, force: true });
    }
    return pids;
  }

  async agentsWithSandboxes(): Promise<string[]> {
    const found = await this.daemon.find({ [LABEL.owner]: this.owner });
    return [...new Set(found.flatMap(({ labels }) => labels[LABEL.agent] ?? []))];
  }

  /** @throws SandboxFault `sandbox-failed` where the label does not say what bounds it: unbounded nobody goes on */
  private diskWatchOf(agentId: string, label: string, handle: KillHandle): DiskWatch {
    const terms = parseDiskTerms(label);
    if (terms === undefined) throw new SandboxFault('sandbox-failed', 'What bounds the agent cannot be read.', label);
    return new DiskWatch(this.disk, agentId, terms, handle);
  }

  private labelsOf(agentId: string): Record<string, string> {
    return { [LABEL.agent]: agentId, [LABEL.owner]: this.owner };
  }

  /** Begins every name of the agent's; an id holds no dot. */
  private prefix(agentId: string): string {
    return `capstan.${agentId}.${this.owner.slice(0, 8)}`;
  }

  private async provideImage(): Promise<string> {
    const { image, programs } = this.options;
    if (image !== undefined) return image;
    const provided = (this.image ??= provideLocalImage(this.daemon, { ...(programs && { programs }) }));
    try {
      return await provided;
    } catch (error) {
      // The next start tries anew, once for all that have waited for this one.
      if (this.image === provided) this.image = undefined;
      throw error;
    }
  }

  /** undefined where the container does not run. @throws SandboxFault `sandbox-failed` where that cannot be told */
  private async handleOf(id: string): Promise<KillHandle | undefined> {
    const state = await this.daemon.inspect(id);
    if (state?.running !== true) return undefined;
    const init = readProcess(state.pid);
    // A process of that number may be another's by now: the container must be running still when we have looked.
    const after = await this.daemon.inspect(id);
    if (after?.running !== true) return undefined;
    const pidNamespace = init?.pidNamespace ?? null;
    if (init === null || pidNamespace === null || after.pid !== init.pid)
      throw new SandboxFault('sandbox-failed', GONE);
    return {
      driver: 'docker',
      bootId: bootId(),
      processes: [{ pid: init.pid, startTicks: init.startTicks }],
      pidNamespace,
      cgroup: killGroupOf(init.pid),
    };
  }
}

/** Whether both name the same process of the same boot. */
function isSameHandle(one: KillHandle, other: KillHandle): boolean {
  const [a, b] = [one.processes[0], other.processes[0]];
  const isSameInit = a !== undefined && a.pid === b?.pid && a.startTicks === b.startTicks;
  return isSameInit && one.bootId === other.bootId && one.pidNamespace === other.pidNamespace;
}

function initOf({ processes }: KillHandle): number {
  return processes[0]?.pid ?? NaN;
}

const PROBE: Omit<SandboxSpec, 'uid' | 'gid'> = {
  agentId: 'probe',
  argv: ['/bin/true'],
  env: {},
  cwd: '/',
  mounts: [],
  limits: {},
  network: 'none',
};
