import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { replaceFile } from '@capstan/identity';
import { createLogger, type DeathReport, ReaperClient } from '@capstan/platform';
import { type BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import { Audit } from '../audit/audit.js';
import { SpokeConfig } from '../config/spoke.config.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import { OwnerPolicyFile } from '../policy/owner-policy.js';

const PAUSE = { minMs: 100, maxMs: 5_000 };
/** For the reaper's answer; what is not dead by then is asked for again. */
const ANSWER_MS = 2_000;

/**
 * What follows when the hub says that this instance's key is revoked: by the owner's policy its agents die, by the
 * reaper on this machine, or live on. Once for each connection: what the owner starts afterwards is his own.
 */
@Injectable()
export class Revocation implements BeforeApplicationShutdown {
  private readonly log = createLogger('spoke.revocation');
  private readonly stopping = new AbortController();
  private acting: Promise<void> | undefined;

  constructor(
    private readonly config: SpokeConfig,
    private readonly identity: SpokeIdentity,
    private readonly policy: OwnerPolicyFile,
    private readonly reaper: ReaperClient,
    private readonly orchestrator: OrchestratorClient,
    private readonly audit: Audit,
  ) {}

  /** The hub has said so. Never throws; what is not done yet when the spoke ends is done when it is told again. */
  told(): void {
    this.acting ??= this.act()
      .catch((error: unknown) => this.log.error({ err: error, msg: 'the revocation was not acted on' }))
      .finally(() => {
        this.acting = undefined;
      });
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopping.abort();
    await this.acting;
  }

  private async act(): Promise<void> {
    const { connectionId } = this.identity.instance;
    if (await this.isDone(connectionId)) return;
    const onRevoked = await this.onRevoked();
    this.log.error({ msg: 'the hub has revoked this instance', onRevoked });
    // The deaths do not wait for the disk.
    const noted = this.audit.beforeKill({ kind: 'instance.revoked', subject: connectionId, detail: { onRevoked } });
    if (onRevoked === 'kill' && !(await this.killAll())) return;
    await noted;
    await replaceFile(this.config.dir.revokedFile, `${connectionId}\n`, 0o600);
  }

  private async isDone(connectionId: string): Promise<boolean> {
    const text = await readFile(this.config.dir.revokedFile, 'utf8').catch(() => '');
    return text.trim() === connectionId;
  }

  /** A policy that cannot be read keeps nobody alive. */
  private async onRevoked(): Promise<'kill' | 'keep'> {
    try {
      return (await this.policy.current()).onRevoked;
    } catch {
      return 'kill';
    }
  }

  /** Whether every agent was observed dead; false only where the spoke ends first. */
  private async killAll(): Promise<boolean> {
    let agents = await this.untilDone(() => this.stopInstance());
    const told = new Set<string>();
    for (;;) {
      if (agents === undefined) return false;
      for (const agent of agents) this.note(agent, told);
      const left = agents.filter(({ outcome }) => outcome === 'unconfirmed');
      if (left.length === 0) return true;
      agents = await this.untilDone(() => Promise.all(left.map(({ agentId }) => this.killOne(agentId))));
    }
  }

  /** Nothing starts again until the owner has armed the instance; undefined where another kill-all came in between. */
  private async stopInstance(): Promise<Death[] | undefined> {
    const { killEpochs } = await this.reaper.describe();
    const current = killEpochs.find(({ scope }) => scope === 'instance')?.epoch ?? 0n;
    const result = await this.reaper.killAll({ scope: 'instance', epoch: current + 1n, timeoutMs: ANSWER_MS });
    if (!result.ok) return undefined;
    this.orchestrator.noticeKillAll().catch(() => undefined);
    return result.agents;
  }

  private async killOne(agentId: string): Promise<Death> {
    return { agentId, ...(await this.reaper.kill({ agentId, timeoutMs: ANSWER_MS })) };
  }

  private note({ agentId, outcome }: Death, told: Set<string>): void {
    if (outcome !== 'unconfirmed')
      this.audit.note({ kind: 'instance.revoked-kill', subject: agentId, detail: { outcome } });
    if (told.has(agentId)) return;
    told.add(agentId);
    this.orchestrator.noticeKill(agentId).catch(() => undefined);
  }

  /** Asks until there is an answer; undefined where the spoke ends first. */
  private async untilDone<T>(ask: () => Promise<T | undefined>): Promise<T | undefined> {
    const { signal } = this.stopping;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const answer = await ask();
        if (answer !== undefined) return answer;
      } catch (error) {
        this.log.error({ err: error, msg: 'the reaper does not answer; it is asked until it does' });
      }
      const pause = Math.min(PAUSE.maxMs, PAUSE.minMs * 2 ** Math.min(attempt, 10));
      await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
    return undefined;
  }
}

type Death = { agentId: string } & DeathReport;
