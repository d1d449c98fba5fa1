import { randomBytes } from 'node:crypto';
import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { VerifiedProbe, VerifiedReceipt } from '@capstan/evidence';
import type { Link } from '@capstan/link';
import {
  bytesEqual,
  create,
  encodeEnvelope,
  type Envelope,
  type FaultCode,
  isFaultCode,
  LinkMessageSchema,
  newId,
  WireFault,
} from '@capstan/protocol';
import { CommandFactory } from '../commands/command-factory.js';
import type { CommandRecord } from '../commands/command-record.js';
import { mayLink } from '../connections/connection-state.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { HubConfig } from '../hub.config.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { LinkRelay } from '../replicas/link-relay.js';
import { checkAnswers } from '../receipts/answered.js';
import { ProbeStore } from './probe.store.js';

const WAIT_MS = 5_000;
const TICK_MS = 1_000;
/** Who asks on a schedule: the hub itself. */
const SCHEDULE = 'hub';

/** A probe that came through. */
export interface ProbeProof {
  instance: string;
  /** Milliseconds from the question to its verified answer. */
  latencyMs: number;
  provenAt: Date;
  probe: VerifiedProbe;
  command: Envelope;
  receipt: Envelope;
}

interface Waiting {
  record: CommandRecord;
  nonce: Uint8Array;
  settle: (outcome: { verified: VerifiedReceipt; receipt: Envelope } | FaultCode) => void;
}

/**
 * Proves that a kill would arrive: the same lane, checks and reaper as a kill, with a nonce of ours, and nobody dies.
 * Like a kill it needs no database; unlike one it is not repeated, since a probe that is lost has said what it can.
 */
@Injectable()
export class Probes implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly waiting = new Map<string, Waiting>();
  /** When each instance is asked next, and over which link it was asked last. */
  private readonly due = new Map<string, { atMs: number; link: Link }>();
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly links: LinkRegistry,
    private readonly factory: CommandFactory,
    private readonly store: ProbeStore,
    private readonly config: HubConfig,
    private readonly relay: LinkRelay,
  ) {}

  onApplicationBootstrap(): void {
    const { probeEveryMs } = this.config.killswitch;
    if (probeEveryMs === 0) return;
    this.timer = setInterval(
      () => {
        this.askThoseDue(Date.now());
      },
      Math.min(TICK_MS, probeEveryMs / 4),
    );
  }

  onApplicationShutdown(): void {
    this.isStopped = true;
    clearInterval(this.timer);
    for (const { settle } of this.waiting.values()) settle('instance-away');
  }

  /**
   * Asks now, and resolves with the proof.
   *
   * @throws WireFault `instance-unknown`, `connection-not-active`; `instance-away` where no answer came in time,
   *   `observation-invalid` where the answer is not the reaper's to this question, and what the instance refused with
   */
  async probe(instance: string, by: string): Promise<ProbeProof> {
    const { state } = this.connections.ofInstance(instance);
    if (!mayLink(state)) throw new WireFault('connection-not-active', `${instance} is ${state}`);
    const askedAt = new Date();
    const begin = performance.now();
    const { record, outcome } = await this.ask(instance, by);
    if (typeof outcome === 'string') {
      // A hub that stops has learnt nothing.
      if (!this.isStopped) this.store.failed(instance, askedAt, outcome);
      throw new WireFault(outcome, `probe of ${instance}`);
    }
    const { verified, receipt } = outcome;
    const { probe } = verified;
    if (probe === undefined) throw new WireFault('internal', 'a probe without an answer');
    const latencyMs = Math.max(1, Math.round(performance.now() - begin));
    const provenAt = new Date();
    this.store.proven(instance, provenAt, latencyMs, encodeEnvelope(receipt));
    return { instance, latencyMs, provenAt, probe, command: record.envelope, receipt };
  }

  /**
   * Whether the receipt is for a probe; it is then judged here, and kept nowhere else.
   *
   * @throws WireFault `receipt-mismatch`; `observation-invalid` where the reaper's answer is to another nonce
   */
  take(verified: VerifiedReceipt, receipt: Envelope): boolean {
    const waiting = this.waiting.get(verified.receipt.commandId);
    // Whoever asked has gone; an old answer proves nothing.
    if (waiting === undefined) return verified.kind === 'probed';
    checkAnswers(verified, waiting.record, this.identity.hubId);
    const { result } = verified.receipt;
    if (result.case === 'refused') {
      waiting.settle(isFaultCode(result.value.code) ? result.value.code : 'internal');
      return true;
    }
    if (verified.probe === undefined || !bytesEqual(verified.probe.nonce, waiting.nonce)) {
      waiting.settle('observation-invalid');
      throw new WireFault('observation-invalid', 'the nonce is not the one that was asked with');
    }
    waiting.settle({ verified, receipt });
    return true;
  }

  private async ask(instance: string, by: string) {
    const nonce = new Uint8Array(randomBytes(32));
    const record = this.factory.make({
      id: newId(),
      instance,
      agentId: '',
      body: { case: 'probe', value: { nonce } },
      tenant: 'default',
      onBehalfOf: by,
      lifetimeMs: WAIT_MS,
    });
    const { promise, resolve } = Promise.withResolvers<Parameters<Waiting['settle']>[0]>();
    this.waiting.set(record.id, { record, nonce, settle: resolve });
    const timer = setTimeout(() => {
      resolve('instance-away');
    }, WAIT_MS);
    try {
      const message = create(LinkMessageSchema, { body: { case: 'envelope', value: record.envelope } });
      if (!(await this.relay.send(instance, 'kill', message, record.id))) resolve('instance-away');
      return { record, outcome: await promise };
    } finally {
      clearTimeout(timer);
      this.waiting.delete(record.id);
    }
  }

  /** Each instance in its own rhythm, and each new link at once. */
  private askThoseDue(nowMs: number): void {
    for (const { instanceId, state } of this.connections.all()) {
      const link = this.links.of(instanceId);
      if (link === undefined || !mayLink(state)) continue;
      const known = this.due.get(instanceId);
      if (known?.link === link && known.atMs > nowMs) continue;
      const jitter = 0.75 + Math.random() / 2;
      this.due.set(instanceId, { atMs: nowMs + this.config.killswitch.probeEveryMs * jitter, link });
      // What came of it stands in the store.
      this.probe(instanceId, SCHEDULE).catch(() => undefined);
    }
  }
}
