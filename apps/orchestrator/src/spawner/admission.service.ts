import { createHash } from 'node:crypto';
import type { AuditLog } from '@capstan/evidence';
import { checkPolicy, metrics, type Logger, type ReaperClient } from '@capstan/platform';
import {
  agentId,
  toHex,
  WireFault,
  type AgentView,
  type Description,
  type KillEpoch,
  type TenantId,
} from '@capstan/protocol';
import type { InstanceFiles } from '../config/instance-files.js';
import { type AgentSecrets, checkSecrets, type ClearSecrets } from '../secrets/agent-secrets.js';
import type { AgentQueue } from '../queue/agent.queue.js';
import type { AgentStore } from '../valkey/agent.store.js';
import { verifySpawn } from './signed-spawn.js';
import { wishOfCommand, type AdmittedEpoch, type SpawnPlan, type SpawnWish } from './spawn-plan.js';

const DAY_MS = 86_400_000;

export interface AdmissionParts {
  files: InstanceFiles;
  reaper: ReaperClient;
  store: AgentStore;
  queue: AgentQueue;
  audit: AuditLog;
  secrets: AgentSecrets;
  logger: Logger;
  /** Names of the sandboxes that this instance has. */
  sandboxes: readonly string[];
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
   * @param bytes a serialized Envelope. @param admission another with the hub's admission, where the hub has not signed the
   *   command itself. @param secrets what was sealed in it, as the spoke has opened it
   * @throws {WireFault} as `verifySpawn`; as `admit`
   */
  async takeCommand(bytes: Uint8Array, admission?: Uint8Array, secrets: ClearSecrets = {}): Promise<AgentView> {
    try {
      const { wish, digest, admittedUnder, sealed } = await this.verify(bytes, admission);
      checkSecrets(await this.parts.files.policy(), secrets, sealed);
      return await this.admit(wish, digest, admittedUnder, secrets);
    } catch (error) {
      if (error instanceof WireFault) metrics.countRefusal(error.code);
      throw error;
    }
  }

  /** Takes the owner's own spawn. @throws {WireFault} as `admit` */
  async takeLocal(wish: SpawnWish): Promise<AgentView> {
    return this.admit(wish, createHash('sha256').update(JSON.stringify(wish)).digest('hex'));
  }

  private async verify(
    bytes: Uint8Array,
    admission: Uint8Array | undefined,
  ): Promise<{ wish: SpawnWish; digest: string; admittedUnder: readonly KillEpoch[] | undefined; sealed: number }> {
    const { files, keepDays, store } = this.parts;
    const { header, spawn, digest, admittedUnder } = await verifySpawn(files, bytes, admission);
    // What was taken before its key was replaced keeps its answer; a broken-into spoke starts nothing new with an old key.
    const isKnown = (await store.findOrder(agentId(spawn.agentId))) !== undefined;
    if (!isKnown) await verifySpawn(files, bytes, admission, Date.now());
    // Records of ended agents are what makes a second offer harmless, so nothing older than they are is taken.
    const oldestMs = Date.now() - keepDays * DAY_MS;
    if (Number(header.issuedAtMs) < oldestMs) throw new WireFault('expired', 'older than the records');
    const wish = wishOfCommand(spawn, header.tenant);
    return { wish, digest: toHex(digest), admittedUnder, sealed: spawn.secrets.length };
  }

  /**
   * @param admittedUnder of another's command: the kill epochs that the hub knew of
   * @throws {WireFault} `policy-*`, `sandbox-missing`, `disarmed`, `kill-epoch`, `agent-exists` (another order has this id), `queue-unavailable` (too
   *   many wait)
   * @throws LocalFault `reaper-unavailable`
   */
  private async admit(
    wish: SpawnWish,
    digest: string,
    admittedUnder?: readonly KillEpoch[],
    clear: ClearSecrets = {},
  ): Promise<AgentView> {
    const { files, store, reaper, queue, queueLimit, audit, secrets, sandboxes, logger } = this.parts;
    const known = await store.findOrder(wish.agentId);
    if (known !== undefined) {
      const agent = sameOrder(known, digest);
      // A restart may have lost them.
      if (agent.state === 'queued' || agent.state === 'spawning') secrets.keep(wish.agentId, clear);
      return agent;
    }
    // How many run at once is the queue's business: whoever is over the limit waits.
    const limits = checkPolicy(await files.policy(), wish);
    if (!sandboxes.includes(limits.sandbox)) throw new WireFault('sandbox-missing', limits.sandbox);
    const killEpochs = armedEpochs(await reaper.describe(), wish.tenant);
    if (admittedUnder !== undefined) checkNotOlder(admittedUnder, killEpochs);
    const secretNames = Object.keys(clear);
    const plan: SpawnPlan = { ...wish, ...limits, killEpochs, ...(secretNames.length === 0 ? {} : { secretNames }) };
    const created = await store.create(plan, digest, queueLimit);
    if (created.kind === 'full') throw new WireFault('queue-unavailable', `${String(queueLimit)} agents wait already`);
    if (created.kind === 'exists') return sameOrder(created, digest);
    const { agentId } = plan;
    secrets.keep(agentId, clear);
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

/** What was admitted before a kill-all must not start after it, armed again or not. @throws {WireFault} `kill-epoch` */
function checkNotOlder(admitted: readonly KillEpoch[], now: readonly AdmittedEpoch[]): void {
  for (const { scope, scopeId, epoch } of now) {
    const isIt = (other: KillEpoch): boolean =>
      other.scope === scope && (scope !== 'tenant' || other.scopeId === scopeId);
    const known = admitted.find(isIt)?.epoch ?? 0n;
    if (known < BigInt(epoch)) throw new WireFault('kill-epoch', `admitted under ${scope} ${String(known)}`);
  }
}
