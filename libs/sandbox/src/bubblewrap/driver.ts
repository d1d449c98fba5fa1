import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { agentsWithGroups, makeGroups, removeControlGroups, type AgentGroups } from '../cgroup/agent-groups.js';
import type { ControlGroupKind } from '../cgroup/hierarchy.js';
import { removeLeftovers } from '../cgroup/leftovers.js';
import { DiskWatch, DiskWatcher } from '../disk/disk-watch.js';
import type { KillHandle } from '../kill/handle.js';
import { bootId, readProcess } from '../kill/process.js';
import type { PreparedSandbox, SandboxDriver, SandboxProbe, SandboxSpec } from '../port.js';
import { SandboxFault } from '../sandbox-fault.js';
import { seccompFilter } from '../seccomp/filter.js';
import { checkSpec } from '../spec/check-spec.js';
import { identityFiles } from '../spec/identity-files.js';
import { bubblewrapArguments } from './arguments.js';
import { BubblewrapSandbox } from './bubblewrap-sandbox.js';
import { FD, launch, type Launched } from './launch.js';

export interface BubblewrapOptions {
  /** Which control groups to use; `auto` takes the best that can be made. */
  controlGroups?: ControlGroupKind | 'auto';
  /** Niceness of agents, so that the reaper and the orchestrator run first. */
  niceness?: number;
  /** Who runs these sandboxes, e.g. the instance's directory: `removeLeftovers` touches no other owner's. Default ''. */
  owner?: string;
  /** Default one of the driver's own. */
  disk?: DiskWatcher;
}

/** `--disable-userns` is the newest option that we need. */
const OLDEST_VERSION = [0, 8];

/**
 * Sandboxes by bubblewrap: namespaces, no capabilities, no network, a seccomp filter; on rootful hosts a uid of its
 * own and limits by control groups for each agent.
 *
 * `prepare` must be called from the main thread: `--die-with-parent` follows the thread that launched.
 */
export class BubblewrapDriver implements SandboxDriver {
  readonly name = 'bubblewrap';
  private readonly controlGroups: ControlGroupKind | 'auto';
  private readonly niceness: number;
  private readonly owner: string;
  private readonly disk: DiskWatcher;

  constructor(options: BubblewrapOptions = {}) {
    this.controlGroups = options.controlGroups ?? 'auto';
    this.niceness = options.niceness ?? 5;
    this.owner = options.owner ?? '';
    this.disk = options.disk ?? new DiskWatcher();
  }

  async probe(): Promise<SandboxProbe> {
    let version: string;
    try {
      version = (await promisify(execFile)('bwrap', ['--version'])).stdout.replace('bubblewrap', '').trim();
    } catch {
      return { available: false, reason: 'bubblewrap is not installed (its program is called bwrap).' };
    }
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major === 0 && minor < (OLDEST_VERSION[1] ?? 0)) {
      return { available: false, version, reason: `bubblewrap ${version} is too old: 0.8.0 or newer is needed.` };
    }
    try {
      const ids = { uid: process.getuid?.() || 65_534, gid: process.getgid?.() || 65_534 };
      const sandbox = await this.prepare({ ...PROBE, ...ids });
      await sandbox.abort();
      await sandbox.dispose();
    } catch (error) {
      const detail = error instanceof SandboxFault ? error.detail : String(error);
      return { available: false, version, reason: `bubblewrap cannot make a sandbox here: ${detail}` };
    }
    return { available: true, version };
  }

  async prepare(spec: SandboxSpec): Promise<PreparedSandbox> {
    checkSpec(spec);
    const groups = makeGroups({ agentId: spec.agentId, owner: this.owner }, spec.limits, this.controlGroups);
    try {
      return await this.launchInto(groups, spec);
    } catch (error) {
      await removeControlGroups(groups.all[0] ?? '');
      throw error;
    }
  }

  /** Never: bubblewrap dies with the process that launched it, and its outputs were that one's own pipes. */
  adopt(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  /** Finds them by their control groups; without those it finds nothing. */
  removeLeftovers(agentId: string): Promise<number[]> {
    return removeLeftovers({ agentId, owner: this.owner });
  }

  agentsWithSandboxes(): Promise<string[]> {
    return Promise.resolve(agentsWithGroups(this.owner));
  }

  private async launchInto(groups: AgentGroups, spec: SandboxSpec): Promise<PreparedSandbox> {
    const isRoot = process.getuid?.() === 0;
    const uid = isRoot ? spec.uid : (process.getuid?.() ?? spec.uid);
    const gid = isRoot ? spec.gid : (process.getgid?.() ?? spec.gid);
    // Meanwhile: nothing of the agent's runs before GO.
    const measured = this.disk.termsOf(spec);
    const filter = seccompFilter();
    const files = identityFiles(spec, uid, gid);
    const data = files.map(({ target }, index) => ({ target, fd: FD.firstData + index }));
    const filterFd = FD.firstData + files.length;
    const launched = await launch({
      groups: groups.all,
      prefix: [
        ...['nice', '-n', String(this.niceness)],
        ...fileSize(spec),
        ...(isRoot ? setpriv(uid, gid) : []),
        'bwrap',
      ],
      options: bubblewrapArguments(spec, { info: FD.info, data, ...(filter && { seccomp: filterFd }) }),
      argv: spec.argv,
      data: [...files.map(({ text }) => text), ...(filter ? [filter] : [])],
    });
    const terms = await measured;
    const enforced = { ...groups.enforced, disk: false, seccomp: filter !== undefined, ownUid: isRoot };
    const handle = await handleOf(launched, groups);
    const disk = terms && new DiskWatch(this.disk, spec.agentId, terms, handle);
    return new BubblewrapSandbox(launched, handle, enforced, groups.all, disk);
  }
}

/** Without the capability to raise it, no process inside ever has another limit. */
function fileSize({ limits: { diskBytes } }: SandboxSpec): string[] {
  return diskBytes === undefined ? [] : ['prlimit', `--fsize=${String(Math.floor(diskBytes))}`];
}

/** bubblewrap then sets its parent-death signal itself, after the change of ids that would have cleared one. */
function setpriv(uid: number, gid: number): string[] {
  return ['setpriv', `--reuid=${String(uid)}`, `--regid=${String(gid)}`, '--clear-groups', '--no-new-privs'];
}

async function handleOf(launched: Launched, groups: AgentGroups): Promise<KillHandle> {
  const { pid } = launched.child;
  const launcher = pid === undefined ? null : readProcess(pid);
  const init = readProcess(launched.info.initPid);
  if (launcher === null || init?.pidNamespace !== launched.info.pidNamespace) {
    launched.gate.destroy();
    launched.child.kill('SIGKILL');
    await launched.exited;
    throw new SandboxFault('sandbox-failed', 'The sandbox was gone before it could be named.');
  }
  return {
    driver: 'bubblewrap',
    bootId: bootId(),
    processes: [launcher, init].map((view) => ({ pid: view.pid, startTicks: view.startTicks })),
    pidNamespace: launched.info.pidNamespace,
    cgroup: groups.main,
  };
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
