import type { KillScope, Work } from '../plan/schedule.ts';

/** Milliseconds since the epoch, all on one machine and one clock. */
type AtMs = number;

/** What somebody who gave orders has seen; `unknown` where no answer came, or none that decides. */
export interface Asked {
  askedAt: AtMs;
  answeredAt: AtMs;
  answer: 'accepted' | 'refused' | 'unknown';
  /** Of a refusal. */
  code?: string;
  commandId?: string;
  /** Faults that held or had not yet been recovered from at any time between question and answer. */
  during: string[];
}

export type OrderRecord = Asked &
  (
    | { kind: 'spawn'; agentId: string; instance: string; origin?: string; work: Work }
    | { kind: 'status'; agentId: string; instance: string; origin?: string }
    | {
        kind: 'kill';
        agentId: string;
        instance: string;
        /** The instance that has ordered it, where the hub only routed it. */
        origin?: string;
        outcome?: string;
        confirmed: boolean;
        /** Processes of the agent that lived when the answer came. */
        alive: number[];
      }
    | { kind: 'kill-all' | 'rearm'; scope: KillScope; lines: KilledLine[] }
  );

export interface KilledLine {
  instance: string;
  commandId: string | null;
  confirmed: boolean;
  /** Processes that lived when the answer came, of agents that were registered before the epoch was raised. */
  alive: number[];
}

/** A request for the model, seen by the one who answers it. */
export interface ModelCall {
  agentId: string;
  at: AtMs;
  /** Drawn by the agent's own process; absent in its first request. */
  process?: string;
}

export interface CommandRow {
  id: string;
  kind: string;
  instance: string;
  agentId: string;
  state: string;
  isSettled: boolean;
  refusal: string | null;
  /** Its ledger need not have it any longer. */
  hasExpired: boolean;
  expiresAt: AtMs;
}

/** A line of a reaper's register. */
export interface RegisterLine {
  kind: string;
  /** Of an agent: when its processes began. */
  at: AtMs;
  agentId?: string;
  handle?: { processes: { pid: number; startTicks: string }[] };
  scope?: { scope: string; id: string };
  /** The command that ordered a death; null for a local order. */
  order?: { id: string } | null;
}

export interface InstanceEvidence {
  id: string;
  register: RegisterLine[];
  /** By the instance itself. */
  agents: { agentId: string; state: string }[];
  /** Ids of the commands that its ledger has. */
  ledger: string[];
  /** What expired until then the ledger has forgotten, and refuses for ever: a clock that was ahead makes it forget early. */
  prunedThrough: AtMs;
  /** What is wrong with its audit log. */
  logFault?: string;
}

export interface Branch {
  agentId: string;
  commits: number;
  /** One line for each process that worked on it. */
  processes: string[];
}

/** All that can be known of one run, and of the runs before it on the same mesh. */
export interface History {
  orders: OrderRecord[];
  calls: ModelCall[];
  commands: CommandRow[];
  /** Receipts that the hub has verified and keeps. */
  receipts: { commandId: string; agentId: string; kind: string }[];
  /** By the hub. */
  agents: { agentId: string; state: string }[];
  /** What is wrong with the hub's audit chain. */
  chainFault?: string;
  instances: InstanceEvidence[];
  branches: Branch[];
  /** Processes of agents that live at the end. */
  living: { agentId: string; pid: number }[];
}

/** A promise that was broken. */
export interface Violation {
  rule: string;
  /** Agent, command or instance. */
  subject: string;
  sentence: string;
}
