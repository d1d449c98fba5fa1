import { envelopeDigest } from '@capstan/identity';
import { createLogger, metrics } from '@capstan/platform';
import {
  bytesEqual,
  create,
  type Envelope,
  EnvelopeSchema,
  fromHex,
  type Routed,
  toHex,
  WireFault,
} from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { OwnerWishes } from '../connection/owner-wishes.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { Grants } from '../grants/grants.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { KillHandler } from '../kill/kill.handler.js';
import type { KillOrder } from '../kill/reaping.js';
import { RearmHandler } from '../kill/rearm.handler.js';
import { Ledger } from '../ledger/ledger.js';
import type { Reply } from '../link/reply.js';
import { Origins } from '../routing/origins.js';
import { type VerifiedCommand, verifyCommand } from '../verify/verify-order.js';
import { Refusals } from './refusals.js';
import { SpawnHandler } from './spawn.handler.js';
import { StatusHandler } from './status.handler.js';

/** Commands in hand, kills aside; the hub is asked to come again with more. */
const MOST_IN_HAND = 1_024;

/**
 * Takes a command through the checks in their order: signature, strict decode, header (verify), then ledger, then
 * policy, then one atomic step, then the acknowledgement, then the effect. A kill leaves this way right after the header.
 */
@Injectable()
export class CommandReceiver {
  private readonly log = createLogger('spoke.commands');
  private inHand = 0;

  constructor(
    private readonly identity: SpokeIdentity,
    private readonly config: SpokeConfig,
    private readonly ledger: Ledger,
    private readonly audit: Audit,
    private readonly spawns: SpawnHandler,
    private readonly statuses: StatusHandler,
    private readonly kills: KillHandler,
    private readonly rearming: RearmHandler,
    private readonly wishes: OwnerWishes,
    private readonly origins: Origins,
    private readonly refusals: Refusals,
    private readonly grants: Grants,
  ) {}

  /** Resolves when the command was answered or refused; never throws. */
  async receive(envelope: Envelope, reply: Reply): Promise<void> {
    const { instanceId, hubKeys: keys } = this.identity;
    await this.handle(envelope, reply, () => verifyCommand(envelope, { instanceId, keys, nowMs: this.config.now() }));
  }

  /** The same for a command of an operator or of another instance, with the hub's admission. */
  async receiveRouted(routed: Routed, reply: Reply): Promise<void> {
    const envelope = routed.envelope ?? create(EnvelopeSchema);
    await this.handle(envelope, reply, () => this.origins.verify(routed));
  }

  private async handle(
    envelope: Envelope,
    reply: Reply,
    verify: () => VerifiedCommand | Promise<VerifiedCommand>,
  ): Promise<void> {
    let order: VerifiedCommand | undefined;
    try {
      order = await this.grants.checked(await verify());
      await this.dispatch(order, reply);
    } catch (error) {
      this.reject(order?.digest ?? envelopeDigest(envelope), error, reply, order);
    }
  }

  private async dispatch(order: VerifiedCommand, reply: Reply): Promise<void> {
    const { body } = order;
    if (body.case === 'kill' || body.case === 'killAll' || body.case === 'probe') {
      await this.origins.checkKill(order);
      return this.kills.execute(order as KillOrder, reply);
    }
    if (this.inHand >= MOST_IN_HAND) throw new WireFault('queue-unavailable', 'too many commands in hand');
    this.inHand += 1;
    try {
      if (await this.isDuplicate(order, reply)) return;
      if (order.late !== undefined) throw order.late;
      this.audit.check();
      this.wishes.checkOpen();
      const refusal = await this.origins.judge(order);
      if (refusal !== undefined) return await this.refusals.refuse(order, refusal, reply);
      if (body.case === 'spawn') await this.spawns.execute({ ...order, body }, reply);
      else if (body.case === 'status') await this.statuses.execute({ ...order, body }, reply);
      else await this.rearming.execute({ ...order, body }, reply);
    } finally {
      this.inHand -= 1;
    }
  }

  /**
   * A command that is in the ledger has had its effect: its outcome is sent again, also after its time has passed,
   * because an acknowledgement may have been lost. Throws WireFault replayed where its id was used for another.
   */
  private async isDuplicate(order: VerifiedCommand, reply: Reply): Promise<boolean> {
    const known = await this.ledger.find(order);
    if (known === undefined) return false;
    if (!bytesEqual(fromHex(known.digest), order.digest))
      throw new WireFault('replayed', 'another command had this id');
    reply.acknowledge(order.digest);
    reply.stored(known.receipt);
    reply.stored(known.finished);
    this.audit.noteSome({
      kind: 'command.duplicate',
      subject: order.id,
      detail: { issuer: order.issuer, state: known.state },
    });
    return true;
  }

  private reject(digest: Uint8Array, error: unknown, reply: Reply, order: VerifiedCommand | undefined): void {
    const fault = error instanceof WireFault ? error : new WireFault('internal', 'command', { cause: error });
    metrics.countRefusal(fault.code);
    if (fault.code === 'internal') this.log.error({ err: error, msg: 'a command could not be handled' });
    else this.log.warn({ err: fault, msg: 'command rejected', code: fault.code });
    this.audit.noteSome({
      kind: 'command.rejected',
      subject: order?.id ?? toHex(digest),
      detail: { code: fault.code, digest: toHex(digest), verified: order !== undefined },
    });
    reply.reject(digest, fault);
  }
}
