/**
 * Sandboxes: the port, its drivers, and the part that kills and observes death.
 *
 * Imports nothing but Node's own modules: the reaper loads this index whole.
 */
export type * from './port.js';
export { SandboxFault, type SandboxFaultCode } from './sandbox-fault.js';
export { BubblewrapDriver, type BubblewrapOptions } from './bubblewrap/driver.js';
export { SandboxDrivers } from './drivers.js';
export { DockerDriver, type DockerOptions } from './docker/driver.js';
export { hostRuntime } from './bubblewrap/host-runtime.js';
export type { ControlGroupKind } from './cgroup/hierarchy.js';
export { DiskWatcher } from './disk/disk-watch.js';
export { removeControlGroups } from './cgroup/agent-groups.js';
export { bootTimeMs } from './kill/boot-time.js';
export {
  bootId,
  hasProcess,
  isSameProcess,
  ownPidNamespace,
  pidNamespaceOf,
  readProcess,
  type ProcessIdentity,
  type ProcessView,
} from './kill/process.js';
export { handleFault, isGone, members, signalHandle, waitGone, type KillHandle } from './kill/handle.js';
export { resourceUse, type ResourceUse } from './usage/resource-use.js';
