import { Injectable } from '@nestjs/common';
import { envelopeDigest, makeHeader, signPayload } from '@capstan/identity';
import type { VerifiedReceipt } from '@capstan/evidence';
import {
  type AgentPage,
  agentOf,
  create,
  Direction,
  type Envelope,
  type InstanceCatalog,
  isFaultCode,
  LinkMessageSchema,
  type LogPage,
  newId,
  type QueryBody,
  QuerySchema,
  type Receipt,
  type Rejection,
  toBinary,
  toHex,
  WireFault,
} from '@capstan/protocol';
import { ConnectionStore } from '../connections/connection.store.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { RateLimit } from '../rate-limit.js';
import { Freshness } from '../replicas/freshness.js';
import { LinkRelay } from '../replicas/link-relay.js';
import { type Asked, checkAnswers } from '../receipts/answered.js';
import { agentListQuery, agentLogsQuery, agentWatchQuery, catalogQuery, QUERY_KINDS } from './query-bodies.js';

/** A question lives as long as somebody waits for its answer. */
const WAIT_MS = 10_000;
/** What one instance, and all of them, are asked in a second. */
const RATE = { windowMs: 1_000, perCaller: 200, forAll: 2_000 };
/** Questions that wait for their answers. */
const MOST_WAITING = 1_024;

type Answer = Receipt['result'];
interface Waiting {
  asked: Asked;
  answer: (result: Answer) => void;
  fail: (fault: WireFault) => void;
}

/** Questions that change nothing: signed and answered by receipts like commands, but neither stored nor repeated. */
@Injectable()
export class Queries {
  private readonly waiting = new Map<string, Waiting>();
  private readonly rate = new RateLimit(RATE);

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly relay: LinkRelay,
    private readonly freshness: Freshness,
  ) {}

  /**
   * A page of an agent's log, from its instance. `by` is who asks.
   *
   * @throws WireFault as `ask`, as do the other questions; `payload-malformed` where the page is larger than was asked for
   */
  async logs(instance: string, agentId: string, after: bigint, limit: number, by: string): Promise<LogPage> {
    const result = await this.ask(instance, agentLogsQuery(agentId, after, limit), by);
    if (result.case !== 'logs') throw mismatch(result);
    if (result.value.lines.length > limit) throw new WireFault('payload-malformed', 'more lines than were asked for');
    return result.value;
  }

  /** What an instance offers. */
  async catalog(instance: string, by: string): Promise<InstanceCatalog> {
    const result = await this.ask(instance, catalogQuery(), by);
    if (result.case !== 'catalog') throw mismatch(result);
    return result.value;
  }

  /** A page of an instance's agents. @param after `next` of the page before; empty for the first */
  async agents(instance: string, after: string, limit: number, by: string): Promise<AgentPage> {
    const result = await this.ask(instance, agentListQuery(after, limit), by);
    if (result.case !== 'agents') throw mismatch(result);
    if (result.value.agents.length > limit) throw new WireFault('payload-malformed', 'more agents than were asked for');
    return result.value;
  }

  /** Begins or renews a watch of an agent's log; `leaseMs` 0 ends it. */
  async watch(
    instance: string,
    watch: { agentId: string; watchId: string; after: bigint; leaseMs: number },
    by: string,
  ): Promise<void> {
    const result = await this.ask(instance, agentWatchQuery(watch), by);
    if (result.case !== 'logs') throw mismatch(result);
  }

  /** Whether the receipt is for a query; it is then handed to whoever asked. @throws WireFault `receipt-mismatch` */
  take(verified: VerifiedReceipt): boolean {
    const waiting = this.waiting.get(verified.receipt.commandId);
    if (waiting === undefined) {
      // Whoever asked has gone; an answer to a question is no record.
      return verified.kind === 'logs' || verified.kind === 'catalog' || verified.kind === 'agents';
    }
    checkAnswers(verified, waiting.asked, this.identity.hubId);
    waiting.answer(verified.receipt.result);
    return true;
  }

  /** Whether the rejection is of a query; whoever asked is told then. An instance has no say about another's. */
  rejected(instance: string, { digest, code }: Rejection): boolean {
    const hex = toHex(digest);
    for (const { asked, fail } of this.waiting.values()) {
      if (asked.digest !== hex || asked.instance !== instance) continue;
      fail(new WireFault(isFaultCode(code) ? code : 'internal', `${instance} rejected the question`));
      return true;
    }
    return false;
  }

  /**
   * Asks an instance that is there.
   *
   * @throws WireFault `instance-unknown`, `connection-not-active`, `instance-away` where it does not answer in time,
   *   `queue-unavailable` where too much is asked, `replica-stale`, or why the instance refused
   */
  private async ask(instance: string, body: QueryBody, by: string): Promise<Answer> {
    this.freshness.check();
    const { state } = this.connections.ofInstance(instance);
    if (state !== 'ACTIVE') throw new WireFault('connection-not-active', `${instance} is ${state}`);
    if (this.waiting.size >= MOST_WAITING || !this.rate.allows(instance))
      throw new WireFault('queue-unavailable', 'too many questions');
    const id = newId();
    const envelope = this.sign(id, instance, body, by);
    const result = await this.answerTo(id, envelope, instance, body);
    if (result.case !== 'refused') return result;
    throw new WireFault(isFaultCode(result.value.code) ? result.value.code : 'internal', `${instance} refused`);
  }

  private async answerTo(id: string, envelope: Envelope, instance: string, body: QueryBody): Promise<Answer> {
    const digest = toHex(envelopeDigest(envelope));
    const asked: Asked = { id, kind: QUERY_KINDS[body.case], instance, agentId: agentOf(body), digest, envelope };
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    // It may fail while the question is still being sent, before anybody awaits it.
    promise.catch(() => undefined);
    this.waiting.set(id, { asked, answer: resolve, fail: reject });
    const away = (): void => reject(new WireFault('instance-away', `${instance} did not answer`));
    const timer = setTimeout(away, WAIT_MS);
    try {
      const message = create(LinkMessageSchema, { body: { case: 'envelope', value: envelope } });
      if (!(await this.relay.send(instance, 'commands', message, id))) away();
      return await promise;
    } finally {
      clearTimeout(timer);
      this.waiting.delete(id);
    }
  }

  private sign(id: string, instance: string, body: QueryBody, by: string): Envelope {
    const { hubId } = this.identity;
    const { key, epoch: keyEpoch } = this.identity.signerFor(instance);
    const direction = Direction.HUB_TO_SPOKE;
    const header = makeHeader({
      id,
      issuer: hubId,
      audience: instance,
      direction,
      onBehalfOf: by,
      lifetimeMs: WAIT_MS,
      keyEpoch,
    });
    return signPayload(key, 'query', toBinary(QuerySchema, create(QuerySchema, { header, body })));
  }
}

function mismatch({ case: kind }: Answer): WireFault {
  return new WireFault('receipt-mismatch', `${kind ?? 'nothing'} is no answer`);
}
