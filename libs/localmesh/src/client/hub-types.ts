import type { AgentView, SpawnRequest } from '@capstan/protocol';

/** What the hub's API answers; DESIGN's interfaces that others rely on. Times are ISO 8601. */
export interface ConnectionView {
  /** Newest identity key first, those that it has replaced, and the reaper's. */
  keys: { keyId: string; publicKey: string; purposes: readonly string[]; epoch: number; revokedAt: string | null }[];
  id: string;
  instanceId: string;
  displayName: string;
  state: string;
  /** `admin`, `owner`: each must resume it before it is ACTIVE again. */
  suspendedBy: string[];
  online: boolean;
  /** Whether a kill was lately proven to reach its reaper. */
  stoppable: StoppableView;
  lastSeenAt: string | null;
  /** Hex of the raw X25519 key to which secrets are sealed; null where it takes none. */
  sealingKey: string | null;
  auditConflict: AuditConflictView | null;
}

/** What an admin may do with a connection. */
export type ConnectionVerb = 'approve' | 'suspend' | 'resume' | 'disconnect' | 'revoke';

/** How an instance's audit log contradicts what it has signed before. */
export interface AuditConflictView {
  conflict: string;
  sentence: string;
  size: number;
  heldSize: number;
  at: string;
}

/** Entries of the hub's record; hashes in hex. */
export interface AuditPageView {
  entries: { sequence: number; hash: string; record: string }[];
  /** Pass as `after` to go on. */
  next: number;
}

export interface AuditHeadView {
  logId: string;
  size: number;
  root: string;
  /** base64 of the signed head's envelope. */
  head: string;
}

export interface KeptHeadView {
  size: number;
  root: string;
  receivedAt: string;
  head: string;
}

/** The last proof that a kill would reach an instance: its age in milliseconds, and how long it took. */
export interface StoppableView {
  proven: boolean;
  ageMs: number | null;
  latencyMs: number | null;
}

/** What is stopped or re-armed: the mesh, or the one instance or tenant that is named. */
export interface ScopeBody {
  scope: 'mesh' | 'instance' | 'tenant';
  instance?: string;
  tenant?: string;
  reason?: string;
  waitMs?: number;
}

/** What became of a kill-all at one instance. */
export interface KillAllLine {
  instance: string;
  commandId: string | null;
  confirmed: boolean;
  agents: { agentId: string; outcome: string }[];
  receipt?: ReceiptView;
  ms: number;
  /** Where it is not confirmed: `away`, `unanswered`, `unconfirmed` or `refused`. */
  reason?: string;
  /** Why it was refused, or what its answer lacks. */
  code?: string;
  leasesEndAt?: string | null;
}

export interface KillAllTotals {
  instances: number;
  confirmed: number;
  unconfirmed: number;
  agents: Record<string, number>;
}

export interface RearmLine {
  instance: string;
  rearmed: boolean;
  commandId: string | null;
  code?: string;
}

export interface ProbeView {
  instance: string;
  proven: boolean;
  latencyMs: number;
  provenAt: string;
  livingAgents: number;
  receipt: ReceiptView;
}

export interface Invitation {
  id: string;
  invite: string;
  expiresAt: string;
}

export interface SpawnBody extends SpawnRequest {
  instance: string;
  tenant?: string;
  expiresInMs?: number;
}

/** A token of the API, never the token itself. */
export interface TokenView {
  /** Whose it is. */
  name: string;
  createdAt: string;
  /** The tokens that it stems from, its maker first; empty for the one of the hub's file. */
  madeBy: string[];
}

/** A person who signs his own commands. */
export interface OperatorView {
  id: string;
  displayName: string;
  keyId: string;
  /** Hex. */
  publicKey: string;
  createdAt: string;
  revokedAt: string | null;
}

export interface CommandAccepted {
  commandId: string;
  agentId: string;
  instance: string;
  state: string;
}

export interface ReceiptView {
  kind: string;
  verified: boolean;
  receivedAt: string;
  /** base64 of the signed receipt's envelope. */
  envelope: string;
  /** base64 of the command's envelope. */
  command: string;
  result: unknown;
}

export interface CommandView {
  id: string;
  kind: string;
  instance: string;
  agentId: string;
  state: string;
  refusal?: { code: string; sentence: string } | null;
  createdAt: string;
  deliveredAt: string | null;
  settledAt: string | null;
  receipts: ReceiptView[];
}

export interface HubAgentView extends AgentView {
  instance: string;
  asOf: string;
  /** By when it is dead if its instance hears nothing more from the hub; null where it lives on, or has ended. */
  leaseEndsAt: string | null;
}

export interface KillAnswer {
  commandId: string;
  outcome: string;
  confirmed: boolean;
  /** What the instance says to an order that stands all the same. */
  refusal?: { code: string; sentence: string };
  receipt?: ReceiptView;
  /** Unless confirmed: by when the agent is dead if nothing more is heard; null where there is no such time. */
  leaseEndsAt?: string | null;
}

export interface LogPageView {
  lines: { sequence: number; at: string; source: string; text: string }[];
  next: number;
  gap: boolean;
}

/** Agents as their instance has just told them. */
export interface AgentPageView {
  instance: string;
  agents: AgentView[];
  /** Pass as `after` to go on; empty on the last page. */
  next: string;
}

/** Something that happened, from the hub's stream of events. */
export interface HubEvent {
  cursor: string;
  at: string;
  kind: string;
  subject: string;
  detail: Record<string, string | number | boolean>;
}

export interface HubInstanceView {
  id: string;
  displayName: string;
  kind: string;
  keys: { keyId: string; publicKey: string; purposes: string[] }[];
  capabilities: string[];
  protocolVersions: number[];
}

/** The hub's key after a rotation. */
export interface HubKeyView {
  keyId: string;
  epoch: number;
  oldKeyId: string;
  /** Until when the key before is believed. */
  oldUntil: string;
}

/** A statement by which a key was replaced; it is believed for its signatures only. */
export interface KeyStatementView {
  owner: string;
  oldKeyId: string;
  newKeyId: string;
  oldUntil: string;
  /** Base64. */
  envelope: string;
}
