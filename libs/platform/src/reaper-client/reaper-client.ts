import {
  KillScope,
  killOutcomeName,
  LocalFault,
  type Description,
  type KillOutcomeName,
  type MessageInitShape,
  type Observed,
  type ReaperReply,
  type RegisterSchema,
} from '@capstan/protocol';
import { ReaperConnection } from './reaper-connection.js';

/** What the reaper says of one agent's death. */
export interface DeathReport {
  outcome: KillOutcomeName;
  /** A serialized Envelope signed by the reaper; empty only when `unconfirmed`. */
  observation: Uint8Array;
  /** Why the reaper killed it by itself: `lease-expired`. Absent where it was ordered to, or the agent ended alone. */
  cause?: string;
}

/** The command that orders a death; left out for a local order. */
export interface KillOrder {
  issuer: string;
  id: string;
  /** SHA-256 of the command's PAE, 32 bytes. */
  digest: Uint8Array;
}

export interface KillScopeName {
  scope: 'mesh' | 'instance' | 'tenant';
  /** The tenant, where scope is `tenant`. */
  scopeId?: string;
}

export type RegisterResult = { ok: true } | { ok: false; code: string };
/** `untilMs`: wall clock until which the hub stands for its agents, milliseconds. */
export type RenewResult = { ok: true; untilMs: number } | { ok: false; code: string };
export type KillAllResult =
  | {
      ok: true;
      epoch: bigint;
      agents: ({ agentId: string } & DeathReport)[];
      /** A serialized Envelope with the reaper's signed statement of which agents are covered; empty for a local order. */
      statement: Uint8Array;
    }
  | { ok: false; code: string };

export type RearmResult = { ok: true; epoch: bigint } | { ok: false; code: string };

const PATIENCE_MS = 2000;
/** For requests that the reaper answers at once, and on top of a timeout that it was told. */
const GRACE_MS = 5000;

/**
 * Talks to the instance's reaper on its unix socket. Every method throws LocalFault: `reaper-unavailable` (it cannot
 * be reached, or was lost before it answered), `reaper-silent`, `reaper-malformed` (it refused the request itself).
 * After a fault nothing is known: kills and registrations may be repeated, they have one effect.
 */
export class ReaperClient {
  private readonly connection: ReaperConnection;

  constructor(socketPath: string, options: { patienceMs?: number } = {}) {
    this.connection = new ReaperConnection(socketPath, options.patienceMs ?? PATIENCE_MS);
  }

  /** The handle is on the reaper's disk when this is `ok`: GO may be given. Else the code says why it must not be. */
  async register(registration: MessageInitShape<typeof RegisterSchema>): Promise<RegisterResult> {
    const reply = await this.ask({ case: 'register', value: registration });
    if (reply.case === 'registered') return { ok: true };
    if (reply.case === 'forbidden') return { ok: false, code: reply.value.code };
    throw refused(reply);
  }

  /** Waits, without a signal, until the agent is gone; `unconfirmed` when the time passes first. */
  async observe(agentId: string, timeoutMs: number): Promise<DeathReport> {
    return deathReport(await this.ask({ case: 'observe', value: { agentId, timeoutMs } }, timeoutMs));
  }

  /** Kills, and waits until the agent is gone; `unconfirmed` when the time passes first: the reaper goes on then. */
  async kill(request: { agentId: string; command?: KillOrder; timeoutMs: number }): Promise<DeathReport> {
    const { agentId, command, timeoutMs } = request;
    return deathReport(await this.ask({ case: 'kill', value: { agentId, timeoutMs, ...orderOf(command) } }, timeoutMs));
  }

  /** Raises the scope's kill epoch to `epoch`, which must be the current one + 1, and kills what lives in it. */
  async killAll(
    request: KillScopeName & { epoch: bigint; command?: KillOrder; timeoutMs: number },
  ): Promise<KillAllResult> {
    const { epoch, command, timeoutMs } = request;
    const value = { ...scopeOf(request), epoch, timeoutMs, ...orderOf(command) };
    const reply = await this.ask({ case: 'killAll', value }, timeoutMs);
    if (reply.case === 'forbidden') return { ok: false, code: reply.value.code };
    if (reply.case !== 'allObserved') throw refused(reply);
    const agents = reply.value.agents.map(({ agentId, result }) => {
      if (result === undefined) throw refused(reply);
      return { agentId, outcome: killOutcomeName(result.outcome), observation: result.observation };
    });
    return { ok: true, epoch: reply.value.epoch, agents, statement: reply.value.statement };
  }

  /**
   * Spawns that are admitted from now on may start again. Without a command it is the owner's own order, which always
   * holds; a command's must name the scope's current epoch.
   */
  async rearm(request: KillScopeName & { epoch?: bigint; command?: Omit<KillOrder, 'digest'> }): Promise<RearmResult> {
    const { epoch = 0n, command } = request;
    const by = command === undefined ? {} : { commandIssuer: command.issuer, commandId: command.id };
    const reply = await this.ask({ case: 'rearm', value: { ...scopeOf(request), epoch, ...by } });
    if (reply.case === 'forbidden') return { ok: false, code: reply.value.code };
    if (reply.case !== 'rearmed') throw refused(reply);
    return { ok: true, epoch: reply.value.epoch };
  }

  /** The reaper's signed word that a kill would have reached it: a serialized Envelope with a ProbeAnswer. */
  async probe(request: { nonce: Uint8Array; commandDigest: Uint8Array }): Promise<Uint8Array> {
    const reply = await this.ask({ case: 'probe', value: request });
    if (reply.case !== 'probed') throw refused(reply);
    return reply.value.answer;
  }

  /** Hands on a renewal as the hub signed it; the reaper alone judges it. The code says why it was refused. */
  async renew(renewal: Uint8Array): Promise<RenewResult> {
    const reply = await this.ask({ case: 'renew', value: { renewal } });
    if (reply.case === 'forbidden') return { ok: false, code: reply.value.code };
    if (reply.case !== 'renewed') throw refused(reply);
    return { ok: true, untilMs: Number(reply.value.untilMs) };
  }

  /** Hands on the hub's word about its own key; the reaper alone judges it. The code says why it was refused. */
  async replaceHubKey(statement: Uint8Array): Promise<{ ok: true } | { ok: false; code: string }> {
    const reply = await this.ask({ case: 'replaceHubKey', value: { statement } });
    if (reply.case === 'forbidden') return { ok: false, code: reply.value.code };
    if (reply.case !== 'hubKeyReplaced') throw refused(reply);
    return { ok: true };
  }

  /** Public key, boot, kill epochs, disarmed scopes, and the agents that were not yet observed gone. */
  async describe(): Promise<Description> {
    const reply = await this.ask({ case: 'describe', value: {} });
    if (reply.case !== 'description') throw refused(reply);
    return reply.value;
  }

  close(): void {
    this.connection.close();
  }

  private ask(body: Parameters<ReaperConnection['request']>[0], timeoutMs = 0): Promise<ReaperReply['body']> {
    return this.connection.request(body, timeoutMs + GRACE_MS);
  }
}

function deathReport(reply: ReaperReply['body']): DeathReport {
  if (reply.case !== 'observed') throw refused(reply);
  const { outcome, observation, cause }: Observed = reply.value;
  return { outcome: killOutcomeName(outcome), observation, ...(cause !== '' && { cause }) };
}

function orderOf(command: KillOrder | undefined): {
  commandIssuer?: string;
  commandId?: string;
  commandDigest?: Uint8Array;
} {
  if (command === undefined) return {};
  return { commandIssuer: command.issuer, commandId: command.id, commandDigest: command.digest };
}

function scopeOf({ scope, scopeId = '' }: KillScopeName): { scope: KillScope; scopeId: string } {
  const scopes = { mesh: KillScope.MESH, instance: KillScope.INSTANCE, tenant: KillScope.TENANT };
  return { scope: scopes[scope], scopeId };
}

function refused(reply: ReaperReply['body']): LocalFault {
  const why = reply.case === 'malformed' ? reply.value.sentence : `it answered ${reply.case ?? 'nothing'}`;
  return new LocalFault('reaper-malformed', 'The reaper refused the request.', why);
}
