/**
 * A whole mesh on one machine: PostgreSQL, Valkey, one hub or several, any number of instances, started as real processes,
 * enrolled over the real path, supervised, and taken down without a trace. Used by `capstan up` and by the tests.
 * Imports `protocol` and `identity`; no app and no Nest.
 */
export { Mesh } from './mesh.js';
export { type MeshOptions, type MeshModel, type MeshStep } from './mesh-options.js';
export { MeshInstance } from './instance/mesh-instance.js';
export { MeshHub } from './hub/mesh-hub.js';
export { HubClient, HubProblem } from './client/hub-client.js';
export { OrchestratorDoor, type QueueView } from './client/orchestrator-door.js';
export {
  OwnerClient,
  type OwnConnectionView,
  type OwnKeyView,
  type PeerKilled,
  type PeerReceiptView,
  type PeerSpawned,
} from './client/owner-client.js';
export type * from './client/hub-types.js';
export { endLeftovers } from './process/process-register.js';
export { SupervisedProcess } from './process/supervised-process.js';
export { type MeshContext, defaultContextFile, loadContext, saveContext } from './state/context.js';
export { defaultStateDir, stateRoot } from './state/state-dir.js';
export { type LockHolder, lockHolder, stopHolder } from './state/state-lock.js';
export { type Remote, addRemote } from './git/remote.js';
export { checkoutRoot } from './state/checkout.js';
