import {
  type AgentView,
  agentView,
  decodeEnvelope,
  decodeStrict,
  type KillOutcomeName,
  killOutcomeName,
  type KillAllResult,
  KillAllStatementSchema,
  type KillResult,
  ObservationSchema,
  type Receipt,
  stripControl,
  WireFault,
} from '@capstan/protocol';
import { envelopeText } from '../commands/envelope-text.js';
import { safeText } from '../agents/safe-text.js';
import type { TakenReceipt } from './taken-receipt.js';

/** What a reaper saw; times are milliseconds since the epoch, by its clock. */
export interface ObservationView {
  orderedAtMs: number;
  signalledAtMs: number;
  observedAtMs: number;
  bootId: string;
  processes: { pid: number; startTicks: number }[];
  pidNamespace: number;
  cgroup: string;
  membersBefore: number;
  verified: true;
}

export interface KillView {
  outcome: KillOutcomeName;
  /** Null only where the outcome is `unconfirmed`. */
  observation: ObservationView | null;
}

export interface KillAllView {
  epoch: string;
  /** When the reaper raised the epoch and named these agents as all; null where it has not said that they are. */
  statedAtMs: number | null;
  agents: ({ agentId: string } & KillView)[];
}

export type ReceiptResult =
  AgentView | KillView | KillAllView | { epoch: string } | { code: string; sentence: string } | null;

/** A receipt as the API shows it. Only verified receipts are ever stored, hence `verified` has one value. */
export interface ReceiptView {
  kind: string;
  verified: true;
  receivedAt: string;
  /** The receipt's envelope, base64; with `command` enough to verify it offline. */
  envelope: string;
  command: string;
  result: ReceiptResult;
}

export function receiptView(taken: TakenReceipt): ReceiptView {
  return {
    kind: taken.kind,
    verified: true,
    receivedAt: taken.receivedAt.toISOString(),
    envelope: envelopeText(taken.envelope),
    command: envelopeText(taken.command),
    result: receiptResult(taken.receipt),
  };
}

function receiptResult({ result }: Receipt): ReceiptResult {
  switch (result.case) {
    case 'refused':
      return { code: stripControl(result.value.code), sentence: stripControl(result.value.sentence) };
    case 'spawned':
    case 'status':
    case 'finished':
      return safeText(agentView(result.value));
    case 'killed':
      return killView(result.value);
    case 'killedAll':
      return {
        epoch: result.value.epoch.toString(),
        statedAtMs: statedAtMs(result.value),
        agents: result.value.agents.map(({ agentId, result: one }) => {
          if (one === undefined) throw new WireFault('payload-malformed', `no result for ${agentId}`);
          return { agentId: stripControl(agentId), ...killView(one) };
        }),
      };
    case 'rearmed':
      return { epoch: result.value.epoch.toString() };
    // Read where they are asked for; here there is nothing to show.
    case 'probed':
    case 'logs':
    case 'catalog':
    case 'agents':
    case undefined:
      return null;
  }
}

/** As the observation, verified before. */
function statedAtMs({ statement }: KillAllResult): number | null {
  if (statement.length === 0) return null;
  return Number(decodeStrict(KillAllStatementSchema, decodeEnvelope(statement).payload).raisedAtMs);
}

/** The observation was verified before the receipt was taken; here it is only read. */
export function killView({ outcome, observation }: KillResult): KillView {
  const name = killOutcomeName(outcome);
  if (observation.length === 0) return { outcome: name, observation: null };
  const seen = decodeStrict(ObservationSchema, decodeEnvelope(observation).payload);
  return {
    outcome: name,
    observation: {
      orderedAtMs: Number(seen.orderedAtMs),
      signalledAtMs: Number(seen.signalledAtMs),
      observedAtMs: Number(seen.observedAtMs),
      bootId: stripControl(seen.bootId),
      processes: seen.processes.map(({ pid, startTicks }) => ({ pid, startTicks: Number(startTicks) })),
      pidNamespace: Number(seen.pidNamespace),
      cgroup: stripControl(seen.cgroup),
      membersBefore: seen.membersBefore,
      verified: true,
    },
  };
}
