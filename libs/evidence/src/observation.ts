import type { KeyRing } from '@capstan/identity';
import {
  bytesEqual,
  killOutcomeName,
  ObservationSchema,
  WireFault,
  type KillOutcomeName,
  type KillResult,
  type Observation,
} from '@capstan/protocol';
import { openReaperWord } from './open-reaper-word.js';

/** What a reaper saw and signed, verified. Times are milliseconds since the epoch, by the reaper's clock. */
export interface VerifiedObservation {
  agentId: string;
  outcome: KillOutcomeName;
  orderedAtMs: number;
  signalledAtMs: number;
  observedAtMs: number;
  bootId: string;
  /** Registered host processes; with outcome `killed` or `already-gone` they are gone. */
  processes: { pid: number; startTicks: number }[];
  /** Inode of the PID namespace that has no member left; 0 where none was registered. */
  pidNamespace: number;
  /** Empty where none was registered. */
  cgroup: string;
  membersBefore: number;
  verified: true;
}

/** What the receipt around a kill result says. */
export interface KillClaim {
  /** The instance that signed the receipt. */
  instance: string;
  agentId: string;
  commandDigest: Uint8Array;
  result: KillResult;
  /**
   * Whether only what this order itself has observed counts. An agent of a kill-all was registered when that came, so
   * that an older observation is of an earlier start of the same agent.
   */
  isOfThisOrder: boolean;
}

/**
 * Verifies the observation inside a kill result. Only an `unconfirmed` result may come without one.
 *
 * @throws {WireFault} `observation-missing`, `observation-invalid` (cause: what is wrong with it)
 */
export function verifyObservation(claim: KillClaim, keys: KeyRing): VerifiedObservation | undefined {
  const claimed = killOutcomeName(claim.result.outcome);
  if (claim.result.observation.length === 0) {
    if (claimed === 'unconfirmed') return undefined;
    throw new WireFault('observation-missing', `${claimed} ${claim.agentId}`);
  }
  const seen = open(claim, keys);
  const why = contradiction(claim, claimed, seen);
  if (why !== undefined) throw new WireFault('observation-invalid', why);
  return observationView(seen, claimed);
}

function open({ instance, result }: KillClaim, keys: KeyRing): Observation {
  const word = { instance, kind: 'observation', bytes: result.observation, code: 'observation-invalid' } as const;
  return openReaperWord(word, ObservationSchema, keys);
}

function contradiction(claim: KillClaim, claimed: KillOutcomeName, seen: Observation): string | undefined {
  if (seen.outcome !== claim.result.outcome) return `the reaper did not observe ${claimed}`;
  if (seen.agentId !== claim.agentId) return 'another agent was observed';
  if (claimed === 'unconfirmed' || (claimed !== 'killed' && !claim.isOfThisOrder)) return undefined;
  // An agent that is gone stays gone, whoever ordered it; but that it died of this order, only this order's observation says.
  if (!bytesEqual(seen.commandDigest, claim.commandDigest)) return 'another order was executed';
  if (claimed !== 'killed') return undefined;
  const named = seen.processes.length > 0 || seen.pidNamespace !== 0n || seen.cgroup !== '';
  return named ? undefined : 'nothing is named that was observed gone';
}

function observationView(seen: Observation, outcome: KillOutcomeName): VerifiedObservation {
  return {
    agentId: seen.agentId,
    outcome,
    orderedAtMs: Number(seen.orderedAtMs),
    signalledAtMs: Number(seen.signalledAtMs),
    observedAtMs: Number(seen.observedAtMs),
    bootId: seen.bootId,
    processes: seen.processes.map(({ pid, startTicks }) => ({ pid, startTicks: Number(startTicks) })),
    pidNamespace: Number(seen.pidNamespace),
    cgroup: seen.cgroup,
    membersBefore: seen.membersBefore,
    verified: true,
  };
}
