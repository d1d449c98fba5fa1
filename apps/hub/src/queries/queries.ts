import { Injectable } from '@nestjs/common';
import { envelopeDigest, makeHeader, signPayload } from '@capstan/identity';
import type { VerifiedReceipt } from '@capstan/evidence';
import {
  create,
  Direction,
  type Envelope,
  LinkMessageSchema,
  newId,
  QuerySchema,
  type Receipt,
  toBinary,
  WireFault,
} from '@capstan/protocol';
import { ConnectionStore } from '../connections/connection.store.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { type Asked, checkAnswers } from '../receipts/answered.js';

/** A question lives as long as somebody waits for its answer. */
const WAIT_MS = 10_000;

/** Questions that change nothing: signed and answered by receipts like commands, but neither stored nor repeated. */
@Injectable()
export class Queries {
  private readonly waiting = new Map<string, { asked: Asked; answer: (receipt: Receipt) => void }>();

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly links: LinkRegistry,
  ) {}

  /**
   * A page of an agent's log, from its instance.
   *
   * @throws WireFault `instance-unknown`, `connection-not-active`, `instance-away`
   */
  async logs(instance: string, agentId: string, after: bigint, limit: number): Promise<Receipt> {
    const { state } = this.connections.ofInstance(instance);
    if (state !== 'ACTIVE') throw new WireFault('connection-not-active', `${instance} is ${state}`);
    const id = newId();
    const envelope = this.sign(id, instance, { agentId, after, limit });
    const digest = Buffer.from(envelopeDigest(envelope)).toString('hex');
    const { promise, resolve } = Promise.withResolvers<Receipt | undefined>();
    this.waiting.set(id, { asked: { id, kind: 'agent.logs', instance, agentId, digest, envelope }, answer: resolve });
    const timer = setTimeout(() => {
      resolve(undefined);
    }, WAIT_MS);
    try {
      const message = create(LinkMessageSchema, { body: { case: 'envelope', value: envelope } });
      if (!(await this.links.send(instance, 'commands', message))) throw new WireFault('instance-away', instance);
      const receipt = await promise;
      if (receipt === undefined) throw new WireFault('instance-away', `${instance} did not answer`);
      return receipt;
    } finally {
      clearTimeout(timer);
      this.waiting.delete(id);
    }
  }

  /** Whether the receipt is for a query; it is then handed to whoever asked. @throws WireFault `receipt-mismatch` */
  take(verified: VerifiedReceipt): boolean {
    const waiting = this.waiting.get(verified.receipt.commandId);
    if (waiting === undefined) {
      // Whoever asked has gone; a page of a log is no record.
      return verified.kind === 'logs';
    }
    checkAnswers(verified, waiting.asked, this.identity.hubId);
    waiting.answer(verified.receipt);
    return true;
  }

  private sign(id: string, instance: string, logs: { agentId: string; after: bigint; limit: number }): Envelope {
    const { hubId, key } = this.identity;
    const direction = Direction.HUB_TO_SPOKE;
    const header = makeHeader({
      id,
      issuer: hubId,
      audience: instance,
      direction,
      onBehalfOf: 'admin',
      lifetimeMs: WAIT_MS,
    });
    const query = create(QuerySchema, { header, body: { case: 'logs', value: logs } });
    return signPayload(key, 'query', toBinary(QuerySchema, query));
  }
}
