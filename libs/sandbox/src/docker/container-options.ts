import type { ContainerCreateOptions } from 'dockerode';
import type { Mount, SandboxSpec } from '../port.js';
import { dockerProfile } from '../seccomp/docker-profile.js';
import { badSpec } from '../spec/check-spec.js';
import { gateCommand } from './gate.js';

const MIB = 1024 * 1024;
const SHM_BYTES = 64 * MIB;
const TMPFS_MIB = 512;
/** Half of what everybody else has: agents give way, as they do by niceness under bubblewrap. */
const CPU_SHARES = 512;
/** Rather an agent than the instance. */
const OOM_SCORE = 500;

/** Docker 20.10; its typings lack it. */
const OWN_CGROUP_NAMESPACE: object = { CgroupnsMode: 'private' };

export interface ContainerOrder {
  spec: SandboxSpec;
  image: string;
  name: string;
  labels: Readonly<Record<string, string>>;
  uid: number;
  gid: number;
  /** Of the gate, beside the spec's own. */
  gateMounts: readonly Mount[];
}

/** What Docker is told of a sandbox: everything that confines it is in here. */
export function containerOptions(order: ContainerOrder): ContainerCreateOptions {
  const { spec, image, name, labels, uid, gid, gateMounts } = order;
  const { memoryBytes, pids, cpus, diskBytes } = spec.limits;
  if (spec.argv.some((argument) => argument.includes('\0'))) throw badSpec('argument', 'a NUL byte');
  const profile = dockerProfile();
  const tmpfs = ['/tmp', ...(spec.tmpfs ?? [])];
  return {
    name,
    Image: image,
    Labels: { ...labels },
    Hostname: 'agent',
    User: `${String(uid)}:${String(gid)}`,
    WorkingDir: spec.cwd,
    Entrypoint: [],
    Cmd: gateCommand(spec.argv),
    Env: [],
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      Init: true,
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      Privileged: false,
      SecurityOpt: ['no-new-privileges:true', ...(profile ? [`seccomp=${JSON.stringify(profile)}`] : [])],
      NetworkMode: 'none',
      IpcMode: 'private',
      ...OWN_CGROUP_NAMESPACE,
      ShmSize: SHM_BYTES,
      Tmpfs: Object.fromEntries(
        tmpfs.map((path) => [path, `rw,exec,nosuid,nodev,mode=1777,size=${String(TMPFS_MIB)}m`]),
      ),
      Mounts: [...spec.mounts, ...gateMounts].map(({ source, target, mode }) => ({
        Type: 'bind',
        Source: source,
        Target: target,
        ReadOnly: mode === 'ro',
        BindOptions: { Propagation: 'rprivate' },
      })),
      // Its outputs go through the gate: nothing of them lies on Docker's disk.
      LogConfig: { Type: 'none', Config: {} },
      RestartPolicy: { Name: 'no' },
      OomScoreAdj: OOM_SCORE,
      CpuShares: CPU_SHARES,
      // The same with swap: it would stretch the limit.
      ...(memoryBytes !== undefined && { Memory: Math.floor(memoryBytes), MemorySwap: Math.floor(memoryBytes) }),
      ...(pids !== undefined && { PidsLimit: pids }),
      ...(diskBytes !== undefined && { Ulimits: [fileSize(diskBytes)] }),
      ...(cpus !== undefined && { NanoCpus: Math.round(cpus * 1e9) }),
    },
  };
}

/** Without the capability to raise it, no process inside ever has another limit. */
function fileSize(bytes: number): { Name: string; Soft: number; Hard: number } {
  return { Name: 'fsize', Soft: Math.floor(bytes), Hard: Math.floor(bytes) };
}
