import type { KeyRing } from '@capstan/identity';
import { bytesEqual, ProbeAnswerSchema, WireFault, type ProbeAnswer, type ProbeResult } from '@capstan/protocol';
import { openReaperWord } from './open-reaper-word.js';

/** A reaper's word, verified, that it stood where a kill would have reached it. */
export interface VerifiedProbe {
  /** The asker's, 32 bytes: that it is his, whoever asked must compare, unless the probing command was given. */
  nonce: Uint8Array;
  /** By the reaper's clock, milliseconds since the epoch. */
  takenAtMs: number;
  bootId: string;
  /** Agents that were registered and not observed gone. */
  livingAgents: number;
}

/** What the receipt around a probe's answer says. */
export interface ProbeClaim {
  /** The instance that signed the receipt. */
  instance: string;
  commandDigest: Uint8Array;
  result: ProbeResult;
}

/**
 * Verifies what a reaper answered to a probe: signed by a key of purpose `observe` of the same instance, for this
 * command and no other.
 *
 * @param nonce of the command, where it is known.
 * @throws {WireFault} `observation-missing`, `observation-invalid` (cause: what is wrong with it)
 */
export function verifyProbe(claim: ProbeClaim, keys: KeyRing, nonce?: Uint8Array): VerifiedProbe {
  if (claim.result.answer.length === 0) throw new WireFault('observation-missing', 'the reaper has said nothing');
  const answer = open(claim, keys);
  if (!bytesEqual(answer.commandDigest, claim.commandDigest))
    throw new WireFault('observation-invalid', 'another command was answered');
  if (nonce !== undefined && !bytesEqual(answer.nonce, nonce))
    throw new WireFault('observation-invalid', 'the nonce is not the one that was asked with');
  const { takenAtMs, bootId, livingAgents } = answer;
  return { nonce: answer.nonce, takenAtMs: Number(takenAtMs), bootId, livingAgents };
}

/** That the answer is fresh, its nonce says. */
function open({ instance, result }: ProbeClaim, keys: KeyRing): ProbeAnswer {
  const word = { instance, kind: 'probe', bytes: result.answer, code: 'observation-invalid' } as const;
  return openReaperWord(word, ProbeAnswerSchema, keys);
}
