import { join } from 'node:path';

/** Where everything of one instance lies that the spoke reads or writes. */
export class InstanceDir {
  constructor(readonly root: string) {}

  /** Who this instance is, and which hub it belongs to. */
  readonly instanceFile = join(this.root, 'instance.json');
  readonly identityKey = join(this.root, 'identity.key');
  /** The hub's pinned keys. */
  readonly trustFile = join(this.root, 'trust.json');
  /** The owner's word on what others may start here. */
  readonly policyFile = join(this.root, 'policy.yaml');
  readonly orchestratorToken = join(this.root, 'tokens', 'orchestrator.token');
  readonly orchestratorSocket = join(this.root, 'run', 'orchestrator.sock');
  readonly reaperSocket = join(this.root, 'run', 'reaper.sock');
  readonly auditLog = join(this.root, 'audit', 'spoke.log');
  /** Last session epoch that the hub has named. */
  readonly sessionEpochFile = join(this.root, 'session-epoch');
}
