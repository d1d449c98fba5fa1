import { join } from 'node:path';

/** Where everything of one instance lies that the spoke reads or writes. */
export class InstanceDir {
  constructor(readonly root: string) {}

  /** Who this instance is, and which hub it belongs to. */
  readonly instanceFile = join(this.root, 'instance.json');
  readonly identityKey = join(this.root, 'identity.key');
  /** The key that is to take its place, the one whose place it took, and what is known of both. */
  readonly nextIdentityKey = join(this.root, 'identity-next.key');
  readonly oldIdentityKey = join(this.root, 'identity-old.key');
  readonly keyPendingFile = join(this.root, 'key-statement.json');
  readonly keyRecordFile = join(this.root, 'key-record.json');
  /** What secrets for this instance are sealed to. */
  readonly sealingKey = join(this.root, 'sealing.key');
  /** The hub's pinned keys. */
  readonly trustFile = join(this.root, 'trust.json');
  /** Operators whose own signatures the owner believes. */
  readonly operatorsFile = join(this.root, 'operators.json');
  /** Other instances, as they were pinned at first sight. */
  readonly peersFile = join(this.root, 'peers.json');
  /** The owner's word on what others may start here. */
  readonly policyFile = join(this.root, 'policy.yaml');
  readonly orchestratorToken = join(this.root, 'tokens', 'orchestrator.token');
  readonly orchestratorSocket = join(this.root, 'run', 'orchestrator.sock');
  /** The owner's own door to the spoke, and the token that opens it. */
  readonly spokeSocket = join(this.root, 'run', 'spoke.sock');
  readonly spokeToken = join(this.root, 'tokens', 'spoke.token');
  readonly reaperSocket = join(this.root, 'run', 'reaper.sock');
  readonly auditLog = join(this.root, 'audit', 'spoke.log');
  /** The newest head of the hub's audit log, and one of each hour, as the hub signed them. */
  readonly hubHeadFile = join(this.root, 'audit', 'hub-head.jsonl');
  readonly hubHeadsFile = join(this.root, 'audit', 'hub-heads.jsonl');
  /** Last session epoch that the hub has named. */
  readonly sessionEpochFile = join(this.root, 'session-epoch');
  /** Highest revocation epoch that the hub has shown. */
  readonly revocationEpochFile = join(this.root, 'revocation-epoch');
  /** What the owner wishes for the connection, as it was signed last. */
  readonly wishFile = join(this.root, 'connection-wish.json');
  /** The connection that was revoked, once everything that follows from it is done. */
  readonly revokedFile = join(this.root, 'revoked');
}
