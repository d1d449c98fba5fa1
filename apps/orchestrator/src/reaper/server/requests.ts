import {
  create,
  isId,
  killOutcome,
  KillScope,
  LIMITS,
  ReaperReplySchema,
  toHex,
  WireFault,
  type KillHandle as WireHandle,
  type MessageInitShape,
  type ObservedSchema,
  type ReaperReply,
  type ReaperRequest,
} from '@capstan/protocol';
import type { KillHandle } from '@capstan/sandbox';
import type { Verdict } from '../kill/deaths.js';
import type { Order, Scope } from '../register/record.js';
import type { KillAllAnswer, Reaper } from '../reaper.js';

const DEFAULT_TIMEOUT_MS = 5000;
const LONGEST_TIMEOUT_MS = 10 * 60_000;
const LONGEST_LEASE_MS = 10n * 365n * 24n * 3_600_000n;
const DIGEST_BYTES = 32;
/** In one reply to a kill-all, what is no observation: around them all, and for each agent its id and outcome. */
const REPLY_BYTES = { around: 256, perAgent: 96 };

type Body = NonNullable<MessageInitShape<typeof ReaperReplySchema>['body']>;

/** What is wrong with a request, as a sentence for its sender. */
class Malformation extends Error {}

/** Answers one request; never rejects. */
export async function answer(
  reaper: Reaper,
  request: ReaperRequest,
  report: (error: unknown) => void,
): Promise<ReaperReply> {
  let body: Body;
  try {
    body = await answerBody(reaper, request);
  } catch (error) {
    if (!(error instanceof Malformation)) report(error);
    const sentence = error instanceof Malformation ? error.message : 'The reaper could not do this; its log says why.';
    body = { case: 'malformed', value: { sentence } };
  }
  return create(ReaperReplySchema, { id: request.id, body });
}

async function answerBody(reaper: Reaper, { body }: ReaperRequest): Promise<Body> {
  switch (body.case) {
    case 'register': {
      const { agentId, tenant, handle, killEpochs, killAfterMs } = body.value;
      const admittedUnder = (scope: Scope): bigint =>
        killEpochs.find((it) => it.scope === scope.scope && (scope.scope !== 'tenant' || it.scopeId === scope.id))
          ?.epoch ?? 0n;
      const done = await reaper.registerAgent({
        agentId: id(agentId, 'agent'),
        tenant: id(tenant, 'tenant'),
        handle: handleOf(handle),
        admittedUnder,
        killAfterMs: duration(killAfterMs),
      });
      if (done.kind === 'malformed') throw new Malformation(done.sentence);
      return done.kind === 'forbidden' ? forbidden(done.code) : { case: 'registered', value: {} };
    }
    case 'observe': {
      const { agentId, timeoutMs } = body.value;
      const seen = await reaper.observe(id(agentId, 'agent'), timeout(timeoutMs));
      if (seen === undefined) throw new Malformation('The agent was never registered.');
      return { case: 'observed', value: withCause(seen) };
    }
    case 'kill': {
      const { agentId, timeoutMs } = body.value;
      const seen = await reaper.kill(id(agentId, 'agent'), orderOf(body.value), timeout(timeoutMs));
      return { case: 'observed', value: observed(seen) };
    }
    case 'killAll': {
      const { epoch, timeoutMs } = body.value;
      const done = await reaper.killAll(scopeOf(body.value), epoch, orderOf(body.value), timeout(timeoutMs));
      if (done.kind === 'forbidden') return forbidden(done.code);
      return { case: 'allObserved', value: allObserved(done) };
    }
    case 'rearm': {
      const { epoch, commandIssuer, commandId } = body.value;
      const isOwners = commandIssuer === '' && commandId === '' && epoch === 0n;
      const done = await reaper.rearm(scopeOf(body.value), isOwners ? null : epoch);
      if (done.kind === 'forbidden') return forbidden(done.code);
      return { case: 'rearmed', value: { epoch: done.epoch } };
    }
    case 'describe':
      return { case: 'description', value: description(reaper) };
    case 'probe': {
      const { nonce, commandDigest } = body.value;
      if (nonce.length !== DIGEST_BYTES) throw new Malformation('A nonce has 32 bytes.');
      if (commandDigest.length !== DIGEST_BYTES) throw new Malformation('The digest of a command has 32 bytes.');
      return { case: 'probed', value: { answer: await reaper.probe(nonce, commandDigest) } };
    }
    case 'renew':
      return renewed(reaper, body.value.renewal);
    case 'replaceHubKey':
      return replaced(reaper, body.value.statement);
    case undefined:
      throw new Malformation('The request asks nothing.');
  }
}

function description(reaper: Reaper): Extract<Body, { case: 'description' }>['value'] {
  const { epochs, agents } = reaper.describe();
  const wire = epochs.map(({ scope, epoch, armed }) => ({ armed, scope: scope.scope, scopeId: scope.id, epoch }));
  return {
    publicKey: reaper.publicKey,
    bootId: reaper.bootId,
    killEpochs: wire.map(({ scope, scopeId, epoch }) => ({ scope, scopeId, epoch })),
    disarmed: wire.filter(({ armed }) => !armed).map(({ scope, scopeId, epoch }) => ({ scope, scopeId, epoch })),
    agents: agents.map(({ agentId, handle, leaseUntilMs }) => ({
      agentId,
      handle,
      leaseUntilMs: BigInt(Math.trunc(leaseUntilMs)),
    })),
  };
}

function forbidden(code: string): Body {
  return { case: 'forbidden', value: { code } };
}

/**
 * Names every agent. Observations go along while the reply has room for them; of the others it says `unconfirmed`, and
 * a kill of that agent under the same command brings its own.
 */
function allObserved({
  epoch,
  agents,
  statement,
}: Extract<KillAllAnswer, { kind: 'observed' }>): Extract<Body, { case: 'allObserved' }>['value'] {
  let room = LIMITS.reaperMessageBytes - REPLY_BYTES.around - statement.length - agents.length * REPLY_BYTES.perAgent;
  const results = agents.map(({ agentId, verdict }) => {
    const result = observed(verdict);
    room -= result.observation.length;
    return { agentId, result: room < 0 ? observed({ outcome: 'unconfirmed' }) : result };
  });
  return { epoch, agents: results, statement };
}

function observed(verdict: Verdict): { outcome: ReturnType<typeof killOutcome>; observation: Uint8Array } {
  const observation = verdict.outcome === 'unconfirmed' ? new Uint8Array() : verdict.observation;
  return { outcome: killOutcome(verdict.outcome), observation };
}

function withCause(verdict: Verdict): MessageInitShape<typeof ObservedSchema> {
  return { ...observed(verdict), cause: verdict.outcome === 'unconfirmed' ? '' : (verdict.cause ?? '') };
}

/** A renewal that was refused is answered with the reason: the caller has only carried it. */
async function renewed(reaper: Reaper, renewal: Uint8Array): Promise<Body> {
  try {
    return { case: 'renewed', value: { untilMs: BigInt(Math.trunc(await reaper.renew(renewal))) } };
  } catch (error) {
    if (error instanceof WireFault) return forbidden(error.code);
    throw error;
  }
}

async function replaced(reaper: Reaper, statement: Uint8Array): Promise<Body> {
  try {
    await reaper.replaceHubKey(statement);
    return { case: 'hubKeyReplaced', value: {} };
  } catch (error) {
    if (error instanceof WireFault) return forbidden(error.code);
    throw error;
  }
}

function id(text: string, what: string): string {
  if (!isId(text)) throw new Malformation(`The ${what} id must match [a-z0-9-]{1,63}.`);
  return text;
}

function timeout(ms: number): number {
  return ms === 0 ? DEFAULT_TIMEOUT_MS : Math.min(ms, LONGEST_TIMEOUT_MS);
}

/** Milliseconds; 0 means never. */
function duration(ms: bigint): number {
  if (ms < 0n || ms > LONGEST_LEASE_MS) throw new Malformation('No lease is that long.');
  return Number(ms);
}

/** Null for a local order: one without a command. */
function orderOf(from: { commandIssuer: string; commandId: string; commandDigest: Uint8Array }): Order | null {
  const { commandIssuer, commandId, commandDigest } = from;
  if (commandIssuer === '' && commandId === '' && commandDigest.length === 0) return null;
  if (commandDigest.length !== DIGEST_BYTES) throw new Malformation('The digest of a command has 32 bytes.');
  return { issuer: id(commandIssuer, 'issuer'), id: id(commandId, 'command'), digest: toHex(commandDigest) };
}

function scopeOf({ scope, scopeId }: { scope: KillScope; scopeId: string }): Scope {
  switch (scope) {
    case KillScope.MESH:
      return { scope: 'mesh', id: '' };
    case KillScope.INSTANCE:
      return { scope: 'instance', id: '' };
    case KillScope.TENANT:
      return { scope: 'tenant', id: id(scopeId, 'tenant') };
    case KillScope.UNSPECIFIED:
      throw new Malformation('A scope must be named.');
  }
}

function handleOf(handle: WireHandle | undefined): KillHandle {
  if (handle === undefined) throw new Malformation('The handle is missing.');
  const { driver, bootId, processes, pidNamespace, cgroup } = handle;
  if (driver !== 'bubblewrap' && driver !== 'docker') throw new Malformation('The driver is unknown.');
  const named = processes.map(({ pid, startTicks }) => ({ pid, startTicks }));
  if (named.some(({ pid }) => pid <= 1)) throw new Malformation('The handle names a pid that no agent can have.');
  return { driver, bootId, processes: named, pidNamespace, cgroup };
}
