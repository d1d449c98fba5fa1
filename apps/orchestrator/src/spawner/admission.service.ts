import { createHash } from 'node:crypto';
import type { AuditLog } from '@capstan/evidence';
import { openEnvelope } from '@capstan/identity';
import { checkPolicy, metrics, type Logger, type ReaperClient } from '@capstan/platform';
import {
  CommandSchema,
  decodeEnvelope,
  Direction,
  toHex,
  WireFault,
  type AgentView,
  type Description,
  type TenantId,
} from '@capstan/protocol';
import type { InstanceFiles } from '../config/instance-files.js';
import type { AgentQueue } from '../queue/agent.queue.js';
import type { AgentStore } from '../valkey/agent.store.js';
import { wishOfCommand, type AdmittedEpoch, type SpawnPlan, type SpawnWish } from './spawn-plan.js';

const DAY_MS = 86_400_000;

export interface AdmissionParts {
  files: InstanceFiles;
  reaper: ReaperClient;
  store: AgentStore;
  queue: AgentQueue;
  audit: AuditLog;
  logger: Logger;
  /** Agents that may wait and run at once. */
  queueLimit: number;
  /** How long ended agents are remembered. */
  keepDays: number;
}

/** Decides which agents may be queued, and queues them. The same order, repeated, gets the same agent. */
export class Admission {
  constructor(private readonly parts: AdmissionParts) {}

  /**
   * Takes a signed spawn. The spoke has verified it already; it is verified again, so that a broken-into spoke cannot
   * start what nobody ordered.
   *
   * @param bytes a serialized Envelope.
   * @throws {WireFault} as `openEnvelope`; `payload-malformed` where it is no spawn; as `admit`
   */
  async takeCommand(bytes: Uint8Array): Promise<AgentView> {
    try {
      const { wish, digest } = await this.verify(bytes);
      return await this.admit(wish, digest);
    } catch (error) {
      if (error instanceof WireFault) metrics.countRefusal(error.code);
      throw error;
    }
  }

  /** Takes the owner's own spawn. @throws {WireFault} as `admit` */
  async takeLocal(wish: SpawnWish): Promise<AgentView> {
    return this.admit(wish, createHash('sha256').update(JSON.stringify(wish)).digest('hex'));
  }

  private async verify(bytes: Uint8Array): Promise<{ wish: SpawnWish; digest: string }> {
    const { files, keepDays } = this.parts;
    const nowMs = Date.now();
    const { payload, header, digest } = openEnvelope(decodeEnvelope(bytes), CommandSchema, {
      kind: 'command',
      purpose: 'command',
      keys: await files.trust(),
      audience: await files.instanceId(),
      direction: Direction.HUB_TO_SPOKE,
      nowMs,
      // The spoke took it in time and holds on to it while we are away: a late offer is no late order.
      expiry: 'exempt',
    });
    // Records of ended agents are what makes a second offer harmless, so nothing older than they are is taken.
    if (Number(header.issuedAtMs) < nowMs - keepDays * DAY_MS) throw new WireFault('expired', 'older than the records');
    if (payload.body.case !== 'spawn')
      throw new WireFault('payload-malformed', `no spawn: ${payload.body.case ?? 'nothing'}`);
    return { wish: wishOfCommand(payload.body.value, header.tenant), digest: toHex(digest) };
  }

  /**
   * @throws {WireFault} `policy-*`, `disarmed`, `agent-exists` (another order has this id), `queue-unavailable` (too
   *   many wait)
   * @throws LocalFault `reaper-unavailable`
   */
  private async admit(wish: SpawnWish, digest: string): Promise<AgentView> {
    const { files, store, reaper, queue, queueLimit, audit, logger } = this.parts;
    const known = await store.findOrder(wish.agentId);
    if (known !== undefined) return sameOrder(known, digest);
    // How many run at once is the queue's business: whoever is over the limit waits.
    const limits = checkPolicy(await files.policy(), wish);
    const killEpochs = armedEpochs(await reaper.describe(), wish.tenant);
    const plan: SpawnPlan = { ...wish, ...limits, killEpochs };
    const created = await store.create(plan, digest, queueLimit);
    if (created.kind === 'full') throw new WireFault('queue-unavailable', `${String(queueLimit)} agents wait already`);
    if (created.kind === 'exists') return sameOrder(created, digest);
    const { agentId } = plan;
    await audit.append({ kind: 'agent.queued', subject: agentId, detail: { order: digest, tenant: plan.tenant } });
    try {
      await queue.add(plan);
      await store.markQueued(agentId);
    } catch (error) {
      // The agent is on disk: the sweep puts it into the queue.
      logger.error({ err: error, agentId, msg: 'the agent is not in the queue yet' });
    }
    return created.agent;
  }
}

function sameOrder(known: { agent: AgentView; digest: string }, digest: string): AgentView {
  if (known.digest !== digest) throw new WireFault('agent-exists', known.agent.agentId);
  return known.agent;
}

/** The epochs under which the agent is admitted. @throws {WireFault} `disarmed` */
function armedEpochs(reaper: Description, tenant: TenantId): AdmittedEpoch[] {
  const concerns = ({ scope, scopeId }: { scope: string; scopeId: string }): boolean =>
    scope !== 'tenant' || scopeId === tenant;
  if (reaper.disarmed.some(concerns)) throw new WireFault('disarmed');
  return reaper.killEpochs
    .filter(concerns)
    .map(({ scope, scopeId, epoch }) => ({ scope, scopeId, epoch: String(epoch) }));
}
