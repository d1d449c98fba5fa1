import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditHead } from '@capstan/evidence';
import { createLogger, metrics, ReaperClient } from '@capstan/platform';
import { toHex } from '@capstan/protocol';
import { Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import type { Reply } from '../link/reply.js';
import { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import { type ReceiptResult, ReceiptSigner } from '../receipts/receipt.signer.js';
import { outboxItem } from '../receipts/signed-item.js';
import { KillEpochs } from './kill-epochs.js';
import { KillReceipts } from './kill.receipts.js';
import { LastProbe } from './last-probe.js';
import { type KillOrder, reap, type Reaped, unanswered, unconfirmed } from './reaping.js';

const PAUSE = { minMs: 250, maxMs: 5_000 };

/** One order to kill, from its arrival to its final receipt. */
interface Kill {
  order: KillOrder;
  acceptedAtMs: number;
  audit: AuditHead | undefined;
  /** The reaper has it on its disk. */
  isTaken: boolean;
}

/**
 * agent.kill and agent.kill-all: straight to the reaper, which keeps the replay mark, the epochs and the tombstones.
 * Neither Valkey nor the orchestrator is waited for. An unconfirmed death is answered as that, and pursued until it is
 * confirmed; then a second receipt follows. kill.probe goes the same way, or it would prove nothing.
 */
@Injectable()
export class KillHandler implements BeforeApplicationShutdown {
  private readonly log = createLogger('spoke.kill');
  private readonly stopping = new AbortController();
  private readonly inHand = new Map<string, Promise<boolean>>();
  private readonly pursuits = new Map<string, { kill: Kill; ended: Promise<void> }>();

  constructor(
    private readonly reaper: ReaperClient,
    private readonly receipts: KillReceipts,
    private readonly signer: ReceiptSigner,
    private readonly orchestrator: OrchestratorClient,
    private readonly audit: Audit,
    private readonly config: SpokeConfig,
    private readonly epochs: KillEpochs,
    private readonly lastProbe: LastProbe,
  ) {}

  /** Resolves when the order was answered for the first time. Never throws. */
  async execute(order: KillOrder, reply: Reply): Promise<void> {
    const key = toHex(order.digest);
    const original = this.receipts.of(order.digest);
    const running = this.inHand.get(key);
    const pursued = this.pursuits.get(key)?.kill;
    if (original === undefined && running === undefined && pursued === undefined) {
      const taken = this.begin(order, reply).finally(() => this.inHand.delete(key));
      this.inHand.set(key, taken);
      await taken;
      return;
    }
    const isTaken = original !== undefined || (await running) === true || pursued?.isTaken === true;
    if (isTaken) reply.acknowledge(order.digest);
    reply.stored(this.receipts.of(order.digest) ?? '');
    this.audit.noteSome({
      kind: 'command.duplicate',
      subject: order.id,
      detail: { issuer: order.issuer, kind: order.body.case },
    });
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopping.abort();
    await Promise.all([...this.inHand.values(), ...[...this.pursuits.values()].map(({ ended }) => ended)]);
    this.reaper.close();
  }

  /** Whether the reaper has the order on its disk. */
  private async begin(order: KillOrder, reply: Reply): Promise<boolean> {
    const acceptedAtMs = this.config.now();
    const { id, issuer, agentId, digest } = order;
    const detail = { issuer, kind: order.body.case, agentId, digest: toHex(digest) };
    const audit = await this.audit.beforeKill({ kind: `${nameOf(order)}.ordered`, subject: id, detail });
    const kill: Kill = { order, acceptedAtMs, audit, isTaken: false };
    // Beside the reaper, not before it.
    const earlier = this.receipts.lookUp(order);
    try {
      const reaped = await reap(this.reaper, order);
      kill.isTaken = true;
      reply.acknowledge(digest);
      const original = reaped.isFinal ? await earlier : undefined;
      if (original === undefined) this.conclude(kill, reaped);
      else {
        this.receipts.remember(order, original);
        reply.stored(original);
      }
      return true;
    } catch (error) {
      if (order.body.case === 'probe') return this.failProbe(kill, error);
      this.log.error({ err: error, msg: 'the reaper has not answered; it is asked until it does', agentId });
      if (order.body.case === 'kill') this.issue(kill, unconfirmed(), false);
      this.pursue(kill);
      return false;
    }
  }

  /** The way to the reaper is broken: that is the answer, and nobody asks again for it. */
  private failProbe(kill: Kill, error: unknown): boolean {
    this.log.error({ err: error, msg: 'the reaper has not answered a probe' });
    this.issue(kill, unanswered(), true);
    return false;
  }

  private conclude(kill: Kill, { result, isFinal, agents }: Reaped): void {
    this.issue(kill, result, isFinal);
    if (kill.order.body.case === 'killAll') this.epochs.refresh();
    if (result.case === 'probed') this.lastProbe.answered(this.config.now());
    this.tellOrchestrator(result, agents);
    if (!isFinal) this.pursue(kill);
  }

  private issue({ order, acceptedAtMs, audit }: Kill, result: ReceiptResult, isFinal: boolean): void {
    if (result.case === 'refused') metrics.countRefusal(result.value.code);
    const item = outboxItem('kill', this.signer.receipt(order, acceptedAtMs, result, audit));
    this.receipts.issue(order, acceptedAtMs, item, isFinal);
    const detail = { issuer: order.issuer, result: result.case, isFinal, receipt: item.digest };
    this.audit.note({ kind: `${nameOf(order)}.answered`, subject: order.id, detail });
  }

  /** Asks the reaper again and again until the death is confirmed. */
  private pursue(kill: Kill): void {
    const key = toHex(kill.order.digest);
    if (this.pursuits.has(key)) return;
    const ended = this.untilFinal(kill).finally(() => this.pursuits.delete(key));
    this.pursuits.set(key, { kill, ended });
  }

  private async untilFinal(kill: Kill): Promise<void> {
    const { signal } = this.stopping;
    for (let attempt = 0; !signal.aborted; attempt++) {
      const pause = Math.min(PAUSE.maxMs, PAUSE.minMs * 2 ** Math.min(attempt, 10));
      await sleep(pause, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        const reaped = await reap(this.reaper, kill.order);
        kill.isTaken = true;
        if (!reaped.isFinal) continue;
        this.issue(kill, reaped.result, true);
        this.tellOrchestrator(reaped.result, reaped.agents);
        return;
      } catch (error) {
        this.log.warn({ err: error, msg: 'a death is still not confirmed', agentId: kill.order.agentId });
      }
    }
  }

  /** It would find out by itself, only later. A kill-all also means those of whom the reaper does not know yet, or no longer. */
  private tellOrchestrator({ case: kind }: ReceiptResult, agents: readonly string[]): void {
    const told = agents.map((agentId) => this.orchestrator.noticeKill(agentId));
    if (kind === 'killedAll') told.unshift(this.orchestrator.noticeKillAll());
    for (const each of told)
      each.catch((error: unknown) => {
        this.log.debug({ err: error, msg: 'the orchestrator was not told of a kill' });
      });
  }
}

/** In the audit log a probe is never to be read as a kill. */
function nameOf({ body }: KillOrder): 'kill' | 'probe' {
  return body.case === 'probe' ? 'probe' : 'kill';
}
