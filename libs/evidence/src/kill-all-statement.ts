import type { KeyRing } from '@capstan/identity';
import {
  bytesEqual,
  CommandSchema,
  decodeStrict,
  KillAllStatementSchema,
  killOutcomeName,
  KillScope,
  WireFault,
  type Envelope,
  type KillAllResult,
  type KillAllStatement,
  type Receipt,
} from '@capstan/protocol';
import { openReaperWord } from './open-reaper-word.js';

/** Which agents a kill-all covers, as the reaper has signed it. */
export interface VerifiedKillAll {
  scope: 'mesh' | 'instance' | 'tenant';
  /** The tenant, where the scope is one; else empty. */
  scopeId: string;
  /** To which the scope's kill epoch was raised. */
  epoch: bigint;
  /** Every agent of the scope that was registered and not observed gone when the epoch was raised. */
  agents: string[];
  /** By the reaper's clock, milliseconds since the epoch. */
  raisedAtMs: number;
  bootId: string;
}

const SCOPES: Partial<Record<KillScope, VerifiedKillAll['scope']>> = {
  [KillScope.MESH]: 'mesh',
  [KillScope.INSTANCE]: 'instance',
  [KillScope.TENANT]: 'tenant',
};

/** What the receipt around a kill-all's result says. */
export interface KillAllClaim {
  /** The instance that signed the receipt. */
  instance: string;
  commandDigest: Uint8Array;
  result: KillAllResult;
}

/**
 * Verifies the statement in the answer to a kill-all: signed by a key of purpose `observe` of the same instance, for this
 * command and epoch, about exactly the agents that the receipt names. Undefined where there is none, as older instances
 * answer: then nobody but the spoke says that these agents are all, and the kill-all is not confirmed.
 *
 * @throws {WireFault} `statement-invalid` (cause: what is wrong with it)
 */
export function verifyKillAll(claim: KillAllClaim, keys: KeyRing): VerifiedKillAll | undefined {
  const { commandDigest, result } = claim;
  if (result.statement.length === 0) return undefined;
  const said = open(claim, keys);
  if (!bytesEqual(said.commandDigest, commandDigest)) throw invalid('another order was executed');
  if (said.epoch !== result.epoch) throw invalid('another epoch was raised');
  const named = result.agents.map(({ agentId }) => agentId);
  if (!areSame(said.agents, named)) throw invalid('the receipt does not name the agents that the reaper names');
  const { scopeId, epoch, agents, raisedAtMs, bootId } = said;
  const scope = SCOPES[said.scope];
  if (scope === undefined) throw invalid('it names no scope');
  return { scope, scopeId, epoch, agents, raisedAtMs: Number(raisedAtMs), bootId };
}

/**
 * Checks that a statement is about the scope and the epoch that the command names: the reaper has only heard its digest.
 *
 * @throws {WireFault} `statement-invalid`; as `decodeStrict` where the command cannot be read
 */
export function checkKillAllScope(stated: VerifiedKillAll, command: Envelope): void {
  const { body } = decodeStrict(CommandSchema, command.payload);
  if (body.case !== 'killAll') throw invalid('no kill-all was ordered');
  const { scope, scopeId, epoch } = body.value;
  const tenant = scope === KillScope.TENANT ? scopeId : '';
  if (stated.scope !== SCOPES[scope] || stated.scopeId !== tenant) throw invalid('another scope was stopped');
  if (stated.epoch !== epoch) throw invalid('another epoch was raised');
}

/** Whether a receipt that was verified proves a kill-all: the reaper says that these agents are all, and that each is dead. */
export function provesKillAll({ result }: Pick<Receipt, 'result'>): boolean {
  return result.case === 'killedAll' && result.value.statement.length > 0 && areDead(result.value);
}

/** Whether a verified kill-all receipt lacks nothing but the reaper's word that it names all. */
export function lacksStatement({ result }: Pick<Receipt, 'result'>): boolean {
  return result.case === 'killedAll' && result.value.statement.length === 0 && areDead(result.value);
}

function areDead({ agents }: KillAllResult): boolean {
  return agents.every(({ result }) => result !== undefined && killOutcomeName(result.outcome) !== 'unconfirmed');
}

function open({ instance, result }: KillAllClaim, keys: KeyRing): KillAllStatement {
  const word = { instance, kind: 'kill-all', bytes: result.statement, code: 'statement-invalid' } as const;
  return openReaperWord(word, KillAllStatementSchema, keys);
}

/** The same names, each as often, in whatever order. */
function areSame(one: readonly string[], other: readonly string[]): boolean {
  const [a, b] = [one.toSorted(), other.toSorted()];
  return a.length === b.length && a.every((name, at) => name === b[at]);
}

function invalid(why: string): WireFault {
  return new WireFault('statement-invalid', why);
}
