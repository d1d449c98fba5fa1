import type { AuditEntry } from '../audit/audit-chain.js';
import type { AgentView } from '@capstan/protocol';

/** A row of `commands`, as JSON for the writer: bytes are base64, times ISO 8601. */
export interface NewCommand {
  id: string;
  kind: string;
  instance: string;
  agent_id: string;
  state: string;
  issuer: string | null;
  envelope: string;
  admission: string | null;
  digest: string;
  created_at: string;
  expires_at: string;
}

/** A move of one command; it is skipped where the row is in none of the states `from`. */
export interface CommandMove {
  id: string;
  from: readonly string[];
  state: string;
  delivered_at: string | null;
  settled_at: string | null;
  refusal_code: string | null;
  refusal_sentence: string | null;
}

export interface NewReceipt {
  digest: string;
  command_id: string;
  instance: string;
  agent_id: string;
  kind: string;
  envelope: string;
  received_at: string;
}

/** What an instance reported of one agent; an older revision never replaces a newer one. */
export interface AgentReport {
  agent_id: string;
  instance: string;
  revision: number;
  snapshot: AgentView;
  as_of: string;
}

/** The kill epoch of a scope at an instance, as this hub has ordered it; which of two rows holds, the statement says. */
export interface NewKillEpoch {
  /** Empty for the order itself, to all instances. */
  instance: string;
  scope: string;
  scope_id: string;
  /** Decimal. */
  epoch: string;
  armed: boolean;
  ordered_by: string;
  /** The enrolment under which the instance was told; empty while it was not. */
  connection: string;
  changed_at: string;
}

/** What is written together, or not at all. */
export interface RecordChange {
  command?: NewCommand;
  /** Claims the agent for its instance; fails where the agent exists. */
  newAgent?: { agent_id: string; instance: string };
  move?: CommandMove;
  receipt?: NewReceipt;
  report?: AgentReport;
  killEpochs?: readonly NewKillEpoch[];
  audit: readonly AuditEntry[];
}
