import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@capstan/platform';
import { type AgentSnapshot, type AgentStalled, agentStateName, isTerminal } from '@capstan/protocol';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { Ledger } from '../ledger/ledger.js';
import { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import { OutboxSender } from '../receipts/outbox.sender.js';
import { OutboxStore } from '../receipts/outbox.store.js';
import { ReceiptSigner } from '../receipts/receipt.signer.js';
import { type OutboxItem, outboxItem } from '../receipts/signed-item.js';

const PAUSE = { minMs: 50, maxMs: 2_000 };
/** With more in the outbox no further event is taken: the orchestrator keeps them. */
const MOST_IN_OUTBOX = 20_000;
/** How often a full outbox is looked at again. */
const FULL_PAUSE_MS = 500;
const SIZE_EVERY = 100;

/**
 * Follows the orchestrator's events: each change and each stall becomes a signed Event for the hub, and the end of an agent that the hub has
 * spawned the second receipt of that spawn. The cursor moves in the same step as the outbox, so that nothing is lost
 * or told out of order, whoever of the two is restarted.
 */
@Injectable()
export class AgentEvents implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = createLogger('spoke.events');
  private readonly stopping = new AbortController();
  private running: Promise<void> | undefined;
  private taken = 0;
  /** Of agents that have not ended. */
  private readonly states = new Map<string, string>();

  constructor(
    private readonly orchestrator: OrchestratorClient,
    private readonly ledger: Ledger,
    private readonly store: OutboxStore,
    private readonly outbox: OutboxSender,
    private readonly signer: ReceiptSigner,
    private readonly audit: Audit,
  ) {}

  onApplicationBootstrap(): void {
    this.running = this.run();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    let attempt = 0;
    while (!signal.aborted) {
      const before = this.taken;
      try {
        await this.follow(signal);
      } catch (error) {
        if (!signal.aborted) this.log.debug({ err: error, msg: 'the orchestrator’s events broke off' });
      }
      attempt = this.taken > before ? 0 : attempt + 1;
      const pause = Math.min(PAUSE.maxMs, PAUSE.minMs * 2 ** Math.min(attempt, 10));
      await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
  }

  private async follow(signal: AbortSignal): Promise<void> {
    let cursor = await this.ledger.eventCursor();
    for await (const news of this.orchestrator.events(cursor, signal)) {
      if (this.taken % SIZE_EVERY === 0) await this.untilRoom(signal);
      if (news.kind === 'gap') await this.takeAll(cursor);
      else {
        cursor = news.cursor;
        await (news.kind === 'agent' ? this.take(cursor, news.agent) : this.takeStall(cursor, news.stall));
      }
      this.taken += 1;
    }
  }

  /** Changes were missed: where the agents stand now is told instead, ends above all. */
  private async takeAll(cursor: string): Promise<void> {
    this.log.warn({ msg: 'events of the orchestrator are missing; the agents’ present states are told instead' });
    for (const agent of await this.orchestrator.list()) await this.take(cursor, agent);
  }

  private async untilRoom(signal: AbortSignal): Promise<void> {
    while ((await this.store.size()) > MOST_IN_OUTBOX) await sleep(FULL_PAUSE_MS, undefined, { signal });
  }

  private async take(cursor: string, agent: AgentSnapshot): Promise<void> {
    const spawn = await this.ledger.spawnOf(agent.agentId);
    const event = outboxItem('events', this.signer.agentChanged(agent, spawn?.order.tenant ?? ''));
    const base = { cursor, event, agentId: agent.agentId };
    const state = agentStateName(agent.state);
    const isEnd = isTerminal(state);
    this.noteState(agent.agentId, state, isEnd);
    if (!isEnd || spawn === undefined || spawn.isFinished) {
      await this.ledger.publish(base);
      this.outbox.offer(event);
      return;
    }
    const finished = await this.finished(agent, spawn);
    await this.ledger.publish({ ...base, spawn: spawn.order, finished });
    this.outbox.offer(event);
    this.outbox.offer(finished);
  }

  private async takeStall(cursor: string, stall: AgentStalled): Promise<void> {
    const { agentId, stalled, reason, action } = stall;
    const spawn = await this.ledger.spawnOf(agentId);
    const event = outboxItem('events', this.signer.agentStalled(stall, spawn?.order.tenant ?? ''));
    this.audit.note({ kind: 'agent.stalled', subject: agentId, detail: { stalled, reason, action } });
    await this.ledger.publish({ cursor, event, agentId });
    this.outbox.offer(event);
  }

  /** Each step of an agent, once as long as this process lives; what it spent meanwhile is no step. */
  private noteState(agentId: string, state: string, isEnd: boolean): void {
    if (this.states.get(agentId) === state) return;
    if (isEnd) this.states.delete(agentId);
    else this.states.set(agentId, state);
    this.audit.note({ kind: 'agent.changed', subject: agentId, detail: { state } });
  }

  private async finished(
    agent: AgentSnapshot,
    { order, acceptedAtMs }: NonNullable<Awaited<ReturnType<Ledger['spawnOf']>>>,
  ): Promise<OutboxItem> {
    const state = agentStateName(agent.state);
    const detail = { issuer: order.issuer, agentId: agent.agentId, state };
    const position = await this.audit.append({ kind: 'agent.finished', subject: order.id, detail });
    return outboxItem(
      'results',
      this.signer.receipt(order, acceptedAtMs, { case: 'finished', value: agent }, position),
    );
  }
}
