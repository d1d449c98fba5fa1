import { isSecretName, SECRET_LIMITS } from '@capstan/identity';
import type { OwnerPolicy } from '@capstan/platform';
import { WireFault, type AgentId } from '@capstan/protocol';

/** What an agent finds in its environment, by name. */
export type ClearSecrets = Readonly<Record<string, string>>;

/** How long a start waits for secrets that a restart has lost. */
const WAIT_MS = 20_000;
const LOOK_MS = 100;

/**
 * Secrets of agents that were not started yet: in memory and nowhere else. After a restart the spoke, which alone can open
 * them, is asked for them again.
 */
export class AgentSecrets {
  private readonly byAgent = new Map<AgentId, ClearSecrets>();
  private readonly missing = new Set<AgentId>();

  keep(agentId: AgentId, secrets: ClearSecrets): void {
    if (Object.keys(secrets).length > 0) this.byAgent.set(agentId, secrets);
  }

  forget(agentId: AgentId): void {
    this.byAgent.delete(agentId);
  }

  /** Agents whose start waits for their secrets. */
  wanted(): AgentId[] {
    return [...this.missing];
  }

  /**
   * The secrets with which an agent is started; waits for them where they were lost.
   *
   * @param names that it was admitted with
   * @param isUnwanted the agent is not to be started any more
   * @throws {WireFault} `orchestrator-lost` where they do not come back
   */
  async demand(agentId: AgentId, names: readonly string[], isUnwanted: () => boolean): Promise<ClearSecrets> {
    if (names.length === 0) return {};
    const deadline = performance.now() + WAIT_MS;
    this.missing.add(agentId);
    try {
      for (;;) {
        const secrets = this.byAgent.get(agentId);
        if (secrets !== undefined || isUnwanted()) return secrets ?? {};
        if (performance.now() > deadline) throw new WireFault('orchestrator-lost', 'its secrets');
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      }
    } finally {
      this.missing.delete(agentId);
    }
  }
}

/**
 * What the owner lets agents have, checked here too: a spoke that was broken into gives no agent another environment.
 *
 * @throws {WireFault} `policy-secret`, `secret-unreadable`
 */
export function checkSecrets({ secrets: allowed = [] }: OwnerPolicy, secrets: ClearSecrets, sealed: number): void {
  const names = Object.keys(secrets);
  if (names.length !== sealed) throw new WireFault('secret-unreadable', `${String(names.length)} of ${String(sealed)}`);
  if (names.length > SECRET_LIMITS.count) throw new WireFault('secret-unreadable', 'too many');
  const refused = names.find((name) => !isSecretName(name) || !allowed.includes(name));
  if (refused !== undefined) throw new WireFault('policy-secret', refused.slice(0, 200));
}
