import { stat } from 'node:fs/promises';
import { checkPolicy, loadPolicy, type OwnerPolicy, type SpawnLimits } from '@capstan/platform';
import { type SpawnAgent, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import { LastProbe } from '../kill/last-probe.js';

/** The owner's policy file, read anew when it has changed: the owner's word holds from the next spawn on. */
@Injectable()
export class OwnerPolicyFile {
  private loaded: { policy: OwnerPolicy; version: string } | undefined;

  constructor(
    private readonly config: SpokeConfig,
    private readonly lastProbe: LastProbe,
  ) {}

  /**
   * Whether the owner allows this spawn. How many agents run at once refuses none: the surplus waits in the
   * orchestrator's queue.
   *
   * @returns the limits that hold, defaults filled in
   * @throws WireFault policy-…; LocalFault `policy-unreadable`, `policy-invalid`: without a readable policy nothing is allowed
   */
  async check(spawn: SpawnAgent, tenant: string): Promise<SpawnLimits> {
    const policy = await this.current();
    const { options } = spawn;
    if (options !== undefined && (options.budgetMicroUsd < 0n || options.timeoutMs < 0n)) {
      throw new WireFault('payload-malformed', 'a negative limit');
    }
    const limits = checkPolicy(policy, {
      runtime: spawn.runtime,
      repository: spawn.context?.repository ?? '',
      tenant,
      sandbox: options?.sandbox ?? '',
      budgetMicroUsd: options?.budgetMicroUsd ?? 0n,
      timeoutMs: options?.timeoutMs ?? 0n,
    });
    // What may not be stoppable is not started.
    if (this.lastProbe.ageMs(this.config.now()) > (policy.requireProbeWithinMs ?? Infinity))
      throw new WireFault('policy-probe');
    return limits;
  }

  /** @throws LocalFault as `loadPolicy` */
  async current(): Promise<OwnerPolicy> {
    const file = this.config.dir.policyFile;
    const version = await stat(file, { bigint: true }).then(
      ({ ino, size, mtimeNs }) => [ino, size, mtimeNs].join('/'),
      () => 'missing',
    );
    if (this.loaded?.version !== version) this.loaded = { policy: await loadPolicy(file), version };
    return this.loaded.policy;
  }
}
