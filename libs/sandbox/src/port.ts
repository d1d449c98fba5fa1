import type { Readable } from 'node:stream';
import type { KillHandle } from './kill/handle.js';

/** A path of the host that is visible inside, e.g. a worktree at `/workspace`. */
export interface Mount {
  source: string;
  target: string;
  mode: 'ro' | 'rw';
}

/** Limits of one sandbox; what is left out is not limited. */
export interface SandboxLimits {
  memoryBytes?: number;
  /** Processes and threads, the sandbox's own two or three included. */
  pids?: number;
  /** Processors' worth of time, e.g. 1.5. */
  cpus?: number;
  /**
   * Bytes on the host's disk that its writable mounts may hold above what they held before GO. The kernel lets no single file
   * grow larger; all together are measured in intervals, and the sandbox is ended where they are more.
   */
  diskBytes?: number;
  /** Files, directories and links that its writable mounts may hold above what they held before GO; measured likewise. */
  diskEntries?: number;
}

/** What runs inside, as whom, and what it sees; its standard input is at its end. Everything that is not named here is absent inside. */
export interface SandboxSpec {
  agentId: string;
  /** Which driver runs it, for `SandboxDrivers`; one driver alone does not look at it. */
  driver?: string;
  /** Program and arguments as seen from inside; the program by absolute path or found on the env's PATH. */
  argv: string[];
  /** The whole environment: nothing of the host's is inherited. */
  env: Record<string, string>;
  /** Working directory inside. */
  cwd: string;
  /** Host ids of the agent; honoured where the driver runs as root, else the driver's own ids are used. */
  uid: number;
  gid: number;
  mounts: Mount[];
  limits: SandboxLimits;
  network: 'none';
  /** Further writable, empty, memory-backed directories; `/tmp` always is one. */
  tmpfs?: string[];
}

/** For each limit and filter, whether this sandbox really has it; what was not asked for is `false`. */
export interface Enforcement {
  memory: boolean;
  pids: boolean;
  cpus: boolean;
  /**
   * A quota of the file system on what its writable mounts hold, which no driver has. That `diskBytes` and `diskEntries` are
   * watched is none: it bounds accidents, and an agent that wants to hide from it can.
   */
  disk: boolean;
  /** Denial of kernel interfaces that an agent has no use for. */
  seccomp: boolean;
  /** A host uid that no other agent has. */
  ownUid: boolean;
}

/** Everything that can be demanded of a sandbox. */
export type EnforcedLimit = keyof Enforcement;

export interface SandboxExit {
  /** null where nobody can tell any more: the agent is gone, and its launcher or Docker has said nothing of how. */
  exitCode: number | null;
  signal: string | null;
  /** The kernel ended something in it because the sandbox had used all its memory. */
  outOfMemory: boolean;
  /** It was ended because it had more on the disk than it may. */
  overDisk?: DiskBreach;
}

/** What lies in the directories that an agent may write. */
export interface DiskUse {
  /** Allocated on the disk: a hole in a file is not counted, what is still open without a name is. */
  bytes: number;
  /** Files, directories and links. */
  entries: number;
}

export interface DiskBreach {
  /** At least so much was there. */
  use: DiskUse;
  bound: DiskUse;
}

/** What goes wrong with a sandbox that runs on, for the log of whoever owns it: this library has none. */
export interface SandboxWarning {
  agentId: string;
  sentence: string;
  cause?: unknown;
}

/** A sandbox that its agent runs in. */
export interface RunningSandbox {
  /** Names the sandbox's processes for ever; what the reaper registers. */
  readonly handle: KillHandle;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Never rejects. Says only that the launcher ended: that nothing is left is for the reaper to observe. */
  readonly exited: Promise<SandboxExit>;
  /** What it had on the disk when that was measured last; undefined before, and where nobody measures it. */
  readonly diskUse: DiskUse | undefined;
  /** Removes the control group; call it once the agent was observed gone. Rejects with `sandbox-busy` if it is not. */
  dispose(): Promise<void>;
}

/** A sandbox whose former owner has died after GO. */
export interface AdoptedSandbox extends RunningSandbox {
  /**
   * It is neither read nor watched any more, and runs on; what it had printed and nobody had read by then may be lost. `exited`
   * then says nothing of its end.
   */
  release(): void;
}

/**
 * A sandbox that exists, in its control group, whose first process waits for GO. Nothing of the agent's has run.
 *
 * Its owner either gives `go()` or calls `abort()`; when the owner dies before GO, the sandbox dies with it. Afterwards that is
 * so for bubblewrap; a container of Docker's outlives its owner, without output or model, until it is adopted, killed or swept.
 */
export interface PreparedSandbox extends RunningSandbox {
  readonly enforced: Enforcement;
  /** Lets the agent start. Rejects with SandboxFault `sandbox-gone` when it can no longer start. */
  go(): Promise<void>;
  /** Ends a sandbox that was not given GO; resolves once its launcher is gone. After GO it does nothing. */
  abort(): Promise<void>;
}

export interface SandboxProbe {
  available: boolean;
  /** A sentence that says what is missing. */
  reason?: string;
  version?: string;
}

/** A way to run an agent so that it is confined and can be killed for certain. */
export interface SandboxDriver {
  readonly name: KillHandle['driver'];
  /** Tries a real sandbox, so that "available" is a fact. */
  probe(): Promise<SandboxProbe>;
  /** Throws SandboxFault `sandbox-failed` with what the sandbox's program said; nothing is left behind then. */
  prepare(spec: SandboxSpec): Promise<PreparedSandbox>;
  /**
   * Takes over the sandbox of the driver's own owner that a process which has died had given GO, as its register names it:
   * its outputs from there on where that one stopped to read, its end, its removal. undefined where there is none that
   * runs and is exactly that one; then nothing was touched. Throws SandboxFault `sandbox-failed` where that cannot be told.
   *
   * The former owner must be dead: two readers would share the outputs between them.
   */
  adopt(agentId: string, handle: KillHandle): Promise<AdoptedSandbox | undefined>;
  /**
   * Ends and removes whatever a process that died left of the agent's sandboxes, of the driver's own owner only. Nothing
   * of the agent's may be wanted any more. Throws SandboxFault `sandbox-busy` where something outlives SIGKILL.
   *
   * @returns pids that were still there.
   */
  removeLeftovers(agentId: string): Promise<number[]>;
  /** Agents of the driver's own owner of whom any sandbox exists, running or not. */
  agentsWithSandboxes(): Promise<string[]>;
}
