import { LocalFault } from '@capstan/platform';
import { faultSentence, isFaultCode, WireFault } from '@capstan/protocol';
import { SandboxFault, type DiskBreach } from '@capstan/sandbox';
import { diskFault, PushFault } from '../git/index.js';
import type { DeathOutcome } from '../killswitch/reaping.js';
import type { EndIntent } from './agent-run.js';
import type { SentBack } from './submission.js';
import { WorkRefused } from './work-refused.js';

/** An end that is nobody's order, with the sentence that people are told. */
export interface Failure {
  kind: 'failed';
  code: string;
  sentence: string;
}

/** How an agent that was given GO came to its end, before anything is made of its work. */
export type AgentEnd = { kind: 'submitted'; summary: string } | Failure | { kind: 'killed' };

export interface EndFacts {
  /** What the reaper observed. */
  outcome: DeathOutcome;
  /** Why the reaper killed it by itself, if it did. */
  cause?: string | undefined;
  /** Something of it was left, and the reaper ended that because we asked it to. */
  finishedOff?: boolean;
  intent: EndIntent | undefined;
  exitCode: number | null;
  /** The kernel ended something of it for want of memory. */
  outOfMemory?: boolean;
  /** Its sandbox was ended for what it had on the disk. */
  overDisk?: DiskBreach | undefined;
  /** Last summary that the agent submitted. */
  submitted: string | undefined;
  /** Why the agent said that it ends. */
  reason: string | undefined;
}

const MEBIBYTE = 1 << 20;

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
  const isDead = intent === undefined && outcome !== 'already-gone';
  // The receipt of whoever ordered it says `killed`.
  if (isDead && facts.finishedOff !== true) return { kind: 'killed' };
  // Whoever was ended for it may have left something that the reaper had to finish off: that is nobody's order.
  if (facts.overDisk !== undefined && facts.exitCode !== 0) return diskFilled(facts.overDisk);
  if (isDead) return { kind: 'killed' };
  if (facts.submitted !== undefined && facts.exitCode === 0) return { kind: 'submitted', summary: facts.submitted };
  if (facts.reason !== undefined && OWN_REASONS.includes(facts.reason)) return failed(facts.reason);
  if (facts.exitCode === 0) return failed('agent-no-submit');
  return failed(facts.outOfMemory === true ? 'agent-memory' : 'agent-crashed');
}

function diskFilled({ use, bound }: DiskBreach): Failure {
  const { code, sentence } = failed('agent-disk');
  const text = ({ bytes, entries }: DiskBreach['use']): string =>
    `${(bytes / MEBIBYTE).toFixed(1)} MiB in ${String(entries)} entries`;
  return {
    kind: 'failed',
    code,
    sentence: `${sentence.replace(/\.$/, '')}: ${text(use)} at least, of ${text(bound)}.`,
  };
}

/** A failure with the public sentence of its code. */
export function failed(code: string): Failure {
  return { kind: 'failed', code: isFaultCode(code) ? code : 'internal', sentence: faultSentence(code) };
}

/** Ends that an agent comes to when its model is away; a program that is not ours has no word for it. */
const ENDS_OF_OUTAGES: readonly string[] = ['model-unavailable', 'agent-crashed', 'agent-no-submit'];

/** @param outage what the gateway saw of the last request. */
export function withOutage(end: Failure, outage: string | undefined): Failure {
  if (outage === undefined || !ENDS_OF_OUTAGES.includes(end.code)) return end;
  const { code, sentence } = failed('model-unavailable');
  return { kind: 'failed', code, sentence: `${sentence.replace(/\.$/, '')}: ${outage}.` };
}

/** An agent that gave up after its work was sent back has failed for that reason. */
export function withRefusal(end: Failure, refused: SentBack | undefined): Failure {
  if (refused === undefined || !['agent-no-submit', 'agent-iterations'].includes(end.code)) return end;
  return { kind: 'failed', code: refused.code, sentence: refused.sentence };
}

/** A failure that comes of a fault of the start, the harvest or the push. */
export function failureOf(error: unknown): Failure {
  if (error instanceof WireFault) return failed(error.code);
  if (error instanceof WorkRefused) return { kind: 'failed', code: error.code, sentence: error.sentence };
  if (error instanceof PushFault) return { kind: 'failed', code: 'push-rejected', sentence: error.sentence };
  if (error instanceof SandboxFault) return failed('sandbox-failed');
  const local = error instanceof LocalFault ? error : diskFault(error);
  return local === undefined ? failed('internal') : { ...failed(local.code), sentence: local.sentence };
}
