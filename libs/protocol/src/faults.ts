interface Fault {
  /** Whether the same message, sent again later, can succeed. */
  readonly retryable: boolean;
  /** One sentence for people; says nothing about the receiver's insides. */
  readonly sentence: string;
}

const never = (sentence: string): Fault => ({ retryable: false, sentence });
const later = (sentence: string): Fault => ({ retryable: true, sentence });

/** Every code that can travel, with its verdict on retrying and its public sentence. Codes are never renamed. */
export const FAULTS = {
  // Envelope and payload
  'envelope-too-large': never('The envelope is larger than 1 MiB.'),
  'envelope-malformed': never('The envelope cannot be read.'),
  'payload-type-unknown': never('The payload type is not the one that is expected here.'),
  'payload-malformed': never('The payload cannot be read.'),
  'unknown-field': never('The payload has a field or a value that this version of the protocol does not know.'),
  'id-malformed': never('An id must match [a-z0-9-]{1,63}; a message id must be a UUIDv7.'),
  // Keys and signatures
  'signature-missing': never('The envelope carries no signature.'),
  'signature-invalid': never('The signature does not fit the payload.'),
  'key-unknown': never('The signing key is not pinned here.'),
  'key-revoked': never('The signing key was revoked.'),
  'key-purpose': never('The signing key was not made for this purpose.'),
  'key-weak': never('The public key is not a sound Ed25519 key.'),
  // Header
  'wrong-audience': never('The message is for somebody else.'),
  'wrong-direction': never('The message travels in a direction that is refused here.'),
  'wrong-issuer': never('The issuer is not the owner of the signing key.'),
  'wrong-tenant': never('The message belongs to another tenant.'),
  expired: never('The message has expired.'),
  'not-yet-valid': later('The message is not valid yet.'),
  'clock-skew': later('The clocks of sender and receiver differ by more than 30 seconds.'),
  replayed: never('The message was seen before.'),
  // Receipts
  'receipt-mismatch': never('The receipt does not answer this command.'),
  'observation-missing': never('The receipt claims a death without an observation of it.'),
  'observation-invalid': never('The observation in the receipt does not prove the death that the receipt claims.'),
  'statement-missing': never(
    "The answer to the kill-all comes without the reaper's statement of which agents it covers.",
  ),
  'statement-invalid': never(
    "The reaper's statement in the receipt does not fit the kill-all, or the agents in the receipt.",
  ),
  // Owner's policy
  'policy-runtime': never("The instance's owner does not allow this runtime."),
  'policy-repository': never("The instance's owner does not allow this repository."),
  'policy-tenant': never("The instance's owner does not allow this tenant."),
  'policy-concurrency': later('The instance runs as many agents as its owner allows.'),
  'policy-budget': never("The budget is higher than the instance's owner allows."),
  'policy-timeout': never("The time limit is longer than the instance's owner allows."),
  'policy-sandbox': never("The instance's owner does not allow this sandbox."),
  'policy-limits': never('The instance cannot enforce a limit that its owner demands.'),
  'policy-peer': never('Whoever has signed this may not order it here.'),
  'policy-operator': never("The instance's owner demands an operator's own signature for this."),
  'policy-secret': never("The instance's owner does not let agents have this secret."),
  'policy-probe': later('It was not proven lately that a kill would reach this instance.'),
  // Routing, grants, keys, secrets, leases, audit
  'admission-missing': never("A command of somebody else came without the hub's admission."),
  'admission-invalid': never("The hub's admission does not fit the command."),
  'admission-older': later("The hub's admission is from before a revocation that is known here."),
  'hop-limit': never('The command has passed as many hubs as it may.'),
  'route-cycle': never('The command has come back to where it was.'),
  'grant-invalid': never('A grant in the chain does not hold.'),
  'grant-widened': never('A grant in the chain allows more than the one before it.'),
  'grant-exceeded': never('The command is not covered by its grants.'),
  'key-statement': never('The statement about a new key does not hold.'),
  'key-fork': never('Two statements name different keys in the place of one; neither is believed.'),
  'key-unfollowed': never(
    'The signing key came after a pinned one by a statement that is not believed here: pin it anew.',
  ),
  'secret-unreadable': never('A secret is not sealed to this instance, or not meant for this agent.'),
  'lease-older': never('The renewal is older than one that was seen before.'),
  'tree-head': never("The head of the peer's audit log contradicts an earlier one."),
  'rearm-same-person': never(
    "Another person than who ordered the kill must re-arm; the token of the hub's file is none.",
  ),
  // Instances and agents
  'agent-unknown': never('The instance does not know this agent.'),
  'agent-exists': never('An agent with this id exists already.'),
  'name-taken': never('This name is given already.'),
  'agent-not-running': later('The agent does not run yet.'),
  'agent-ended': never('The agent has ended, or its work is accepted already.'),
  'messages-unsupported': never('The runtime of this agent takes no messages.'),
  'messages-full': later('The agent has not taken up earlier messages yet, or has had as many as it may.'),
  'message-exists': never('The agent has had another message under this id.'),
  'instance-unknown': never('There is no such instance.'),
  'instance-away': later('The instance is not connected.'),
  'connection-not-active': later('The connection to this instance is not active.'),
  'connection-transition': never('The connection cannot go there from where it is, or not by this side.'),
  'kill-epoch': never('The kill epoch does not fit: it must be exactly one more than the current one.'),
  disarmed: later('The scope was stopped by a kill-all and has not been re-armed.'),
  tombstoned: never('The agent was killed before it started; it will never run.'),
  'replica-stale': later('This hub replica cannot confirm just now that nothing was revoked; it only kills.'),
  'queue-unavailable': later("The instance's queue cannot be reached."),
  'audit-unavailable': later(
    'The instance cannot write its audit log; until its owner has mended that, it only kills.',
  ),
  'repository-missing': never('The repository cannot be found.'),
  'repository-unsafe': never('The repository holds what cannot be checked out safely.'),
  'repository-empty': never('The repository has no commit.'),
  'branch-missing': never('The repository has no such branch.'),
  'repository-unavailable': later('The repository could not be brought up to date just now.'),
  'repository-too-large': never('The repository holds a file that is too large to be worked on here.'),
  'git-credentials': later("The instance's git credentials cannot be used."),
  'disk-full': later("The instance's disk is full."),
  // Ends of an agent
  'agent-timeout': never('The agent ran out of time.'),
  'agent-stalled': never("The agent made no progress for as long as the instance's owner allows."),
  'lease-expired': later("The agent's lease was not renewed in time: the hub could not be heard."),
  'agent-budget': never('The agent spent its budget.'),
  'task-budget': never("The agents of the task have spent the task's budget."),
  'tenant-budget': later("The agents of the tenant have spent the tenant's budget of this day."),
  'agent-iterations': never('The agent used all its iterations.'),
  'agent-no-submit': never('The agent ended without submitting its work.'),
  'agent-context': never("The agent's conversation outgrew the context of its model."),
  'agent-no-change': never('The agent submitted no change.'),
  'agent-memory': never('The agent used up its memory.'),
  'agent-disk': never('The agent filled more of the disk than it may.'),
  'agent-crashed': never('The agent ended by itself with an error.'),
  'model-unavailable': later('The model cannot be reached.'),
  'harvest-refused': never("The agent's work tree holds what cannot be taken into the repository."),
  'secret-found': never('The work holds what looks like a secret, and was not committed.'),
  'secret-scan-failed': later('The work could not be searched for secrets, and was not committed.'),
  'merge-conflict': later('The work does not fit what has been pushed to the branch since the agent began.'),
  'push-rejected': later('The remote refused the branch.'),
  'orchestrator-lost': later('The orchestrator stopped while the agent ran.'),
  'sandbox-missing': never('The instance does not have this sandbox.'),
  'sandbox-failed': later('The sandbox could not be started.'),
  // Enrolment
  'enrollment-token': never('The enrolment token is unknown or was used.'),
  'enrollment-expired': never('The enrolment token has expired.'),
  'enrollment-mismatch': never('The enrolment does not fit its token.'),
  // Link
  'handshake-version': never('The peers share no version of the protocol.'),
  'handshake-signature': never('The peer could not prove that it holds its key.'),
  'handshake-timeout': later('The peer did not authenticate in time.'),
  'frame-malformed': never('A frame cannot be read.'),
  'frame-too-large': never('A frame is larger than allowed.'),
  'sequence-gap': later('A piece of a message is missing.'),
  'epoch-older': never('The peer shows an older revocation epoch than one that was seen before.'),
  'epoch-jump': never('The peer shows a revocation epoch far above the one that was seen before.'),
  'link-silent': later('The peer was silent for too long.'),
  'too-many-connections': later('There are too many connections from this address.'),
  // HTTP
  internal: later('Something went wrong inside; the log says what.'),
  unauthorized: never('A valid token is required.'),
  forbidden: never('The token does not allow this.'),
  validation: never('The request is not well-formed.'),
  'not-found': never('There is no such thing.'),
} as const satisfies Record<string, Fault>;

export type FaultCode = keyof typeof FAULTS;

/** Whether a string, say from a peer, is a code of this version. */
export function isFaultCode(code: string): code is FaultCode {
  return Object.hasOwn(FAULTS, code);
}

/** The public sentence of a code; for a code of another version, one that only names it. */
export function faultSentence(code: string): string {
  return isFaultCode(code) ? FAULTS[code].sentence : `Refused with the code ${code}, which this version does not know.`;
}
