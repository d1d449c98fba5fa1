import { faultSentence, isFaultCode } from '@capstan/protocol';
import type { DeathOutcome } from '../killswitch/reaping.js';
import type { EndIntent } from './agent-run.js';

/** How an agent that was given GO came to its end, before anything is made of its work. */
export type AgentEnd =
  { kind: 'submitted'; summary: string } | { kind: 'failed'; code: string; sentence: string } | { kind: 'killed' };

export interface EndFacts {
  /** What the reaper observed. */
  outcome: DeathOutcome;
  /** Why the reaper killed it by itself, if it did. */
  cause?: string | undefined;
  intent: EndIntent | undefined;
  exitCode: number | null;
  /** The kernel ended something of it for want of memory. */
  outOfMemory?: boolean;
  /** Last summary that the agent submitted. */
  submitted: string | undefined;
  /** Why the agent said that it ends. */
  reason: string | undefined;
}

/** Codes that an agent may give as the reason of its own end; anything else from it is a crash. */
const OWN_REASONS: readonly string[] = [
  'agent-iterations',
  'agent-budget',
  'agent-timeout',
  'agent-no-submit',
  'agent-context',
  'model-unavailable',
];

/** Judges an end. What the reaper and the instance know outranks what the agent says of itself. */
export function endOfAgent(facts: EndFacts): AgentEnd {
  const { intent, outcome } = facts;
  if (intent?.kind === 'killed') return { kind: 'killed' };
  if (facts.cause === 'lease-expired') return failed(facts.cause);
  // Whoever had submitted and ended by itself before the signal came has ended by itself.
  if (intent !== undefined && (outcome === 'killed' || facts.submitted === undefined)) {
    return failed(intent.kind === 'lost' ? 'orchestrator-lost' : intent.code);
  }
  if (intent === undefined && outcome !== 'already-gone') return { kind: 'killed' };
  if (facts.submitted !== undefined && facts.exitCode === 0) return { kind: 'submitted', summary: facts.submitted };
  if (facts.reason !== undefined && OWN_REASONS.includes(facts.reason)) return failed(facts.reason);
  if (facts.exitCode === 0) return failed('agent-no-submit');
  return failed(facts.outOfMemory === true ? 'agent-memory' : 'agent-crashed');
}

/** A failure with the public sentence of its code. */
export function failed(code: string): AgentEnd & { kind: 'failed' } {
  return { kind: 'failed', code: isFaultCode(code) ? code : 'internal', sentence: faultSentence(code) };
}
