import type { AgentView } from '@capstan/protocol';

/** What the hub's API answers; DESIGN's interfaces that others rely on. Times are ISO 8601. */
export interface ConnectionView {
  id: string;
  instanceId: string;
  displayName: string;
  state: string;
  online: boolean;
  lastSeenAt: string | null;
}

export interface Invitation {
  id: string;
  invite: string;
  expiresAt: string;
}

export interface SpawnBody {
  instance: string;
  agentId?: string;
  taskId?: string;
  agentType: 'worker' | 'reviewer' | 'tester';
  runtime?: string;
  tenant?: string;
  context: { repository: string; branch?: string; workItems: readonly string[]; skills?: readonly string[] };
  options?: {
    sandbox?: string;
    timeoutMs?: number;
    maxRetries?: number;
    priority?: number;
    budgetMicroUsd?: number;
    model?: string;
    playbook?: string;
  };
  onHubLost?: { killAfterMs: number } | { keep: true };
  expiresInMs?: number;
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
}

export interface KillAnswer {
  commandId: string;
  outcome: string;
  confirmed: boolean;
  receipt?: ReceiptView;
}

export interface LogPageView {
  lines: { sequence: number; at: string; source: string; text: string }[];
  next: number;
  gap: boolean;
}

export interface HubInstanceView {
  id: string;
  displayName: string;
  kind: string;
  keys: { keyId: string; publicKey: string; purposes: string[] }[];
  capabilities: string[];
  protocolVersions: number[];
}
