import { WireFault, type WarningView } from '@capstan/protocol';
import type { AgentLog } from '../monitor/agent-log.js';
import type { JobEnd } from '../queue/agent.worker.js';
import type { Claim } from '../valkey/agent.store.js';
import { failureOf, type Failure } from './agent-end.js';
import type { AgentRun } from './agent-run.js';
import type { HarvestStopped } from './harvester.js';
import { StartForbidden } from './launcher.js';
import type { Pushing } from './session-record.js';
import type { Settled } from './settlement.js';

/** What becomes of an agent whose start failed. Only before GO, and only with retries left, does it go back to the queue. */
export function endBeforeGo(run: AgentRun, claim: Claim, error: unknown): Settled {
  if (error instanceof StartForbidden || run.intent?.kind === 'killed') return { state: 'killed' };
  if (run.intent?.kind === 'lost' && !run.goGiven) return { state: 'queued' };
  const end = failureOf(error);
  if (!run.goGiven && isRetryable(error) && claim.attempt <= claim.plan.maxRetries) return { state: 'queued' };
  return { state: 'failed', patch: { error: { code: end.code, sentence: end.sentence } } };
}

/** What the log says of a start that failed. */
export function toldOfStart(settled: Settled, run: AgentRun, error: unknown): string {
  if (settled.state === 'queued' && run.intent === undefined) return `${failureOf(error).sentence} It is tried again.`;
  return settled.patch?.error?.sentence ?? settled.state;
}

/** A failure as it is written down; the agent's log tells it too. */
export function failure({ code, sentence }: Failure, log: AgentLog): Settled {
  log.append('system', sentence);
  return { state: 'failed', patch: { error: { code, sentence } } };
}

/** Whether the source has the work, nobody can tell: what it may have is named. @param warnings that the agent has already */
export function killedWhilePushing(
  { pushing }: HarvestStopped,
  warnings: readonly WarningView[],
  log: AgentLog,
): Settled {
  if (pushing === undefined) return { state: 'killed' };
  const { sentence, ...told } = pushUnknown('It was killed', pushing, warnings);
  log.append('system', sentence);
  return { state: 'killed', ...told };
}

/** @param what has happened to the agent meanwhile, e.g. 'It was killed'. @param warnings that it has already */
export function pushUnknown(
  what: string,
  { branch, commit }: Pushing,
  warnings: readonly WarningView[],
): { sentence: string; patch: { warnings: WarningView[] }; detail: Record<string, string> } {
  const sentence = `${what} while commit ${commit} was being pushed to ${branch}: look whether the source has it.`;
  return {
    sentence,
    patch: { warnings: [...warnings, { code: 'push-unknown', sentence }] },
    detail: { branch, commit, pushed: 'unknown' },
  };
}

/** What an end means to the queue. */
export function jobEnd(settled: Settled): JobEnd {
  switch (settled.state) {
    case 'completed':
      return { kind: 'completed' };
    case 'queued':
      return { kind: 'retry', code: 'retry' };
    case 'failed':
      return { kind: 'failed', code: settled.patch?.error?.code ?? 'failed' };
    case 'killed':
      return { kind: 'failed', code: 'killed' };
  }
}

/** What the repository or the owner says is final; what a machine says may pass. */
function isRetryable(error: unknown): boolean {
  return error instanceof WireFault ? error.retryable : true;
}
