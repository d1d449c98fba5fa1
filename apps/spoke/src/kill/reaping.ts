import type { DeathReport, KillAllResult, ReaperClient } from '@capstan/platform';
import {
  create,
  isFaultCode,
  type KillAgent,
  type KillAllAgents,
  KillAllResultSchema,
  killOutcome,
  KillResultSchema,
  KillScope,
  LocalFault,
  type ProbeKillPath,
  ProbeResultSchema,
  RefusedSchema,
  WireFault,
} from '@capstan/protocol';
import type { ReceiptResult } from '../receipts/receipt.signer.js';
import type { VerifiedOrder } from '../verify/verify-order.js';

/** What goes to the reaper on the way of kills; a probe is a kill that kills nothing. */
export type KillBody =
  | { case: 'kill'; value: KillAgent }
  | { case: 'killAll'; value: KillAllAgents }
  | { case: 'probe'; value: ProbeKillPath };
export type KillOrder = VerifiedOrder<KillBody>;

/** What the reaper made of an order. */
export interface Reaped {
  result: ReceiptResult;
  /** False while a death is not confirmed. */
  isFinal: boolean;
  /** Agents that were told to die. */
  agents: string[];
}

/** For the reaper's first answer; it goes on by itself after that. */
const ANSWER_MS = 2_000;
/** For an agent whose death was not in the answer to a kill-all: mostly it is known by then. */
const REST_MS = 500;
/** The reaper is restarted within a second: one that is lost in between is asked again. */
const ATTEMPTS = 3;

/** Gives the order to the reaper. @throws LocalFault `reaper-unavailable`, `reaper-silent`, `reaper-malformed` */
export async function reap(reaper: ReaperClient, order: KillOrder): Promise<Reaped> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask(reaper, order);
    } catch (error) {
      const isLost = error instanceof LocalFault && error.code === 'reaper-unavailable';
      if (!isLost || attempt === ATTEMPTS) throw error;
    }
  }
}

async function ask(reaper: ReaperClient, { body, issuer, id, digest }: KillOrder): Promise<Reaped> {
  const command = { issuer, id, digest };
  if (body.case === 'kill') {
    const { agentId } = body.value;
    const death = await reaper.kill({ agentId, command, timeoutMs: ANSWER_MS });
    return { result: { case: 'killed', value: killResult(death) }, isFinal: isDeath(death), agents: [agentId] };
  }
  if (body.case === 'probe') {
    const answer = await reaper.probe({ nonce: body.value.nonce, commandDigest: digest });
    return { result: { case: 'probed', value: create(ProbeResultSchema, { answer }) }, isFinal: true, agents: [] };
  }
  const { scope, scopeId, epoch } = body.value;
  const answer = await reaper.killAll({ scope: scopeName(scope), scopeId, epoch, command, timeoutMs: ANSWER_MS });
  return reapedAll(await withAllObservations(reaper, answer, command));
}

/**
 * One reply of the reaper holds the observations of some fifty agents: of those that it names without one, each is
 * asked for by itself. The order is the same, so the reaper answers with what it has observed for it.
 */
async function withAllObservations(
  reaper: ReaperClient,
  answer: KillAllResult,
  command: { issuer: string; id: string; digest: Uint8Array },
): Promise<KillAllResult> {
  if (!answer.ok) return answer;
  const agents = await Promise.all(
    answer.agents.map(async (told) => {
      if (isDeath(told)) return told;
      const { agentId } = told;
      return { agentId, ...(await reaper.kill({ agentId, command, timeoutMs: REST_MS })) };
    }),
  );
  return { ...answer, agents };
}

/** The answer where the reaper could not be asked: nobody has seen a death. */
export function unconfirmed(): ReceiptResult {
  return { case: 'killed', value: killResult({ outcome: 'unconfirmed', observation: new Uint8Array() }) };
}

/** The answer to a probe that did not come through. */
export function unanswered(): ReceiptResult {
  const { code, sentence, retryable } = new WireFault('internal');
  return { case: 'refused', value: create(RefusedSchema, { code, sentence, retryable }) };
}

function reapedAll(answer: KillAllResult): Reaped {
  if (!answer.ok) {
    const { code, sentence, retryable } = new WireFault(isFaultCode(answer.code) ? answer.code : 'internal');
    return {
      result: { case: 'refused', value: create(RefusedSchema, { code, sentence, retryable }) },
      isFinal: true,
      agents: [],
    };
  }
  const { epoch, statement } = answer;
  const agents = answer.agents.map((death) => ({ agentId: death.agentId, result: killResult(death) }));
  return {
    result: { case: 'killedAll', value: create(KillAllResultSchema, { epoch, agents, statement }) },
    isFinal: answer.agents.every(isDeath),
    agents: answer.agents.map(({ agentId }) => agentId),
  };
}

function isDeath({ outcome }: DeathReport): boolean {
  return outcome !== 'unconfirmed';
}

function killResult({ outcome, observation }: DeathReport): ReturnType<typeof create<typeof KillResultSchema>> {
  return create(KillResultSchema, { outcome: killOutcome(outcome), observation });
}

/** A scope as the reaper's client names it. @throws WireFault `payload-malformed` */
export function scopeName(scope: KillScope): 'mesh' | 'instance' | 'tenant' {
  switch (scope) {
    case KillScope.MESH:
      return 'mesh';
    case KillScope.INSTANCE:
      return 'instance';
    case KillScope.TENANT:
      return 'tenant';
    case KillScope.UNSPECIFIED:
      throw new WireFault('payload-malformed', 'a kill-all without scope');
  }
}
