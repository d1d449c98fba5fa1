import type { AuditEntry } from '../audit/audit-chain.js';
import type { AgentView } from '@capstan/protocol';

/** A row of `commands`, as JSON for the writer: bytes are base64, times ISO 8601. */
export interface NewCommand {
  id: string;
  kind: string;
  instance: string;
  agent_id: string;
  state: string;
  envelope: string;
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

/** What is written together, or not at all. */
export interface RecordChange {
  command?: NewCommand;
  /** Claims the agent for its instance; fails where the agent exists. */
  newAgent?: { agent_id: string; instance: string };
  move?: CommandMove;
  receipt?: NewReceipt;
  report?: AgentReport;
  audit: readonly AuditEntry[];
}
