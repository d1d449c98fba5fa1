import { fromBase64, fromHex, LIMITS, toBase64, toHex, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import type { OutboxItem } from '../receipts/signed-item.js';
import { SpokeValkey } from '../valkey/spoke-valkey.js';
import type { OrderRef, VerifiedCommand } from '../verify/verify-order.js';
import { KEYS } from './keys.js';
import { FORGET_AGENTS, PRUNE, PUBLISH, RECORD, SETTLE } from './ledger.scripts.js';

/** An entry outlives its command's expiry by more than two clocks can differ. */
const KEEP_AFTER_EXPIRY_MS = 2 * LIMITS.clockSkewMs;
/** A kill has no expiry that counts. */
const KEEP_KILL_MS = 30 * 24 * 3_600_000;
const KEEP_AGENT_MS = 7 * 24 * 3_600_000;
const PRUNE_BATCH = 500;

/** What the ledger holds about a command. Receipts are base64 of envelopes, empty where there is none. */
export interface KnownCommand {
  digest: string;
  state: 'accepted' | 'settled';
  receipt: string;
  finished: string;
}

export type Recorded =
  | { kind: 'recorded' }
  | { kind: 'known'; command: KnownCommand }
  /** Its entry may have been there and pruned. */
  | { kind: 'pruned' }
  | { kind: 'agent-exists' };

/** A spawn that the orchestrator has not taken yet. */
export interface Offer {
  key: string;
  order: OrderRef;
  acceptedAtMs: number;
  /** The command's serialized envelope. */
  envelope: Uint8Array;
  /** The hub's admission of it; absent where the hub has signed the command itself. */
  admission?: Uint8Array;
}

/**
 * The replay ledger and the durable intents, keyed by (issuer, command id). Everything here is on disk when it
 * resolves. Throws WireFault queue-unavailable while Valkey is away.
 */
@Injectable()
export class Ledger {
  constructor(
    private readonly valkey: SpokeValkey,
    private readonly config: SpokeConfig,
  ) {}

  async find({ issuer, id }: OrderRef): Promise<KnownCommand | undefined> {
    const fields = ['digest', 'state', 'receipt', 'finished'] as const;
    const values = await this.valkey.ask((client) => client.hmget(KEYS.entry(issuer, id), ...fields));
    const [digest, state, receipt, finished] = values.map((value) => value ?? '');
    return digest === '' || digest === undefined ? undefined : known([digest, state, receipt, finished]);
  }

  /** Replay mark and durable intent to spawn. */
  async accept(order: VerifiedCommand, acceptedAtMs: number): Promise<Recorded> {
    return this.record(order, acceptedAtMs, undefined);
  }

  /** Replay mark and outcome at once: a refusal, or the answer to what changes nothing, or an observed death. */
  async conclude(order: VerifiedCommand, acceptedAtMs: number, receipt: OutboxItem): Promise<Recorded> {
    return this.record(order, acceptedAtMs, receipt);
  }

  /** The outcome of an intent; false where it had one already. */
  async settle(offer: Offer, receipt: OutboxItem, isRefused: boolean): Promise<boolean> {
    const keys = [offer.key, KEYS.offers, KEYS.agent(offer.order.agentId), ...OUTBOX];
    const { envelope, digest } = receipt;
    const args = [envelope, digest, JSON.stringify(receipt), isRefused ? '1' : '0', offer.order.id];
    return (await this.valkey.run(SETTLE, keys, args)) === 1;
  }

  /** Oldest first. */
  async offers(): Promise<Offer[]> {
    const keys = await this.valkey.ask((client) => client.zrange(KEYS.offers, '0', '-1'));
    const offers = await Promise.all(keys.map((key) => this.offer(key)));
    return offers.filter((offer) => offer !== undefined);
  }

  offerOf(order: VerifiedCommand, acceptedAtMs: number): Offer {
    const admission = order.routed === undefined ? {} : { admission: order.routed.admission };
    return { key: KEYS.entry(order.issuer, order.id), order, acceptedAtMs, envelope: order.bytes, ...admission };
  }

  /** The spawn that an agent stands on; undefined where the agent is not the hub's, or was forgotten. */
  async spawnOf(agentId: string): Promise<{ order: OrderRef; acceptedAtMs: number; isFinished: boolean } | undefined> {
    const fields = await this.valkey.ask((client) => client.hgetall(KEYS.agent(agentId)));
    if (fields['digest'] === undefined) return undefined;
    return {
      order: refOf({ ...fields, agentId }),
      acceptedAtMs: Number(fields['acceptedAt']),
      isFinished: 'finished' in fields,
    };
  }

  /** The spawn that an agent stands on, as it was taken; undefined once its command was pruned. */
  async takenSpawn(agentId: string): Promise<Offer | undefined> {
    const spawn = await this.spawnOf(agentId);
    return spawn === undefined ? undefined : this.offer(KEYS.entry(spawn.order.issuer, spawn.order.id));
  }

  async eventCursor(): Promise<string> {
    return (await this.valkey.ask((client) => client.get(KEYS.eventCursor))) ?? '0';
  }

  /** An agent's change and, at its end, the second receipt of its spawn; then the cursor. One step. */
  async publish(o: {
    cursor: string;
    event: OutboxItem;
    agentId: string;
    spawn?: OrderRef;
    finished?: OutboxItem;
  }): Promise<void> {
    const { spawn, finished } = o;
    const entry = spawn === undefined ? KEYS.agent(o.agentId) : KEYS.entry(spawn.issuer, spawn.id);
    const keys = [KEYS.eventCursor, entry, KEYS.agent(o.agentId), KEYS.agentExpiry, ...OUTBOX];
    await this.valkey.run(PUBLISH, keys, [
      o.cursor,
      o.event.digest,
      JSON.stringify(o.event),
      o.agentId,
      finished?.envelope ?? '',
      finished?.digest ?? '',
      finished === undefined ? '' : JSON.stringify(finished),
      this.config.now() + KEEP_AGENT_MS,
    ]);
  }

  /**
   * Removes what may be forgotten. What was pruned raises the persisted mark below which no command is taken for new,
   * so a clock that is set back cannot make a pruned command run twice. The mark follows the entries, never the clock:
   * a clock that ran ahead for a while does no harm.
   */
  async prune(): Promise<number> {
    const now = this.config.now();
    await this.valkey.run(FORGET_AGENTS, [KEYS.agentExpiry], [now, PRUNE_BATCH, KEYS.agent('')]);
    return (await this.valkey.run(PRUNE, [KEYS.expiry, KEYS.prunedThrough], [now, PRUNE_BATCH])) as number;
  }

  private async record(
    order: VerifiedCommand,
    acceptedAtMs: number,
    receipt: OutboxItem | undefined,
  ): Promise<Recorded> {
    const { issuer, id } = order;
    const keys = [
      KEYS.entry(issuer, id),
      KEYS.expiry,
      KEYS.prunedThrough,
      KEYS.offers,
      KEYS.agent(order.agentId),
      ...OUTBOX,
    ];
    const reply = await this.valkey.run(RECORD, keys, [
      toHex(order.digest),
      order.body.case,
      order.agentId,
      toBase64(order.bytes),
      acceptedAtMs,
      pruneAt(order, acceptedAtMs),
      issuer,
      id,
      order.tenant,
      receipt?.envelope ?? '',
      receipt?.digest ?? '',
      receipt === undefined ? '' : JSON.stringify(receipt),
      order.routed === undefined ? '' : toBase64(order.routed.admission),
    ]);
    const [kind, ...rest] = reply as [Recorded['kind'], ...string[]];
    return kind === 'known' ? { kind, command: known(rest) } : { kind };
  }

  private async offer(key: string): Promise<Offer | undefined> {
    const fields = await this.valkey.ask((client) => client.hgetall(key));
    if (fields['envelope'] === undefined) return undefined;
    const envelope = fromBase64(fields['envelope']);
    const admission = fields['admission'] === undefined ? {} : { admission: fromBase64(fields['admission']) };
    return { key, order: refOf(fields), acceptedAtMs: Number(fields['acceptedAt']), envelope, ...admission };
  }
}

const OUTBOX = [KEYS.outboxOrder, KEYS.outboxItems, KEYS.outboxSequence];

function pruneAt({ header, body }: VerifiedCommand, acceptedAtMs: number): number {
  const isKill = body.case === 'kill' || body.case === 'killAll';
  if (isKill) return acceptedAtMs + KEEP_KILL_MS;
  const expires = Number(header.expiresAtMs);
  if (!Number.isSafeInteger(expires)) throw new WireFault('payload-malformed', 'expires out of range');
  return expires + KEEP_AFTER_EXPIRY_MS;
}

function known([digest = '', state = '', receipt = '', finished = '']: readonly (string | undefined)[]): KnownCommand {
  return { digest, state: state === 'accepted' ? 'accepted' : 'settled', receipt, finished };
}

/** What was stored about an order; its trace is not, it belongs to the first answer. */
function refOf(fields: Record<string, string>): OrderRef {
  const { issuer = '', id = '', digest = '', tenant = '', agentId = '' } = fields;
  return { issuer, id, digest: fromHex(digest), tenant, traceparent: '', agentId };
}
