import { Injectable } from '@nestjs/common';
import { WireFault } from '@capstan/protocol';
import { HubConfig } from '../hub.config.js';
import { KillEpochs } from './kill-epochs.js';
import { ProbeStore } from './probe.store.js';

/** Says no to a spawn before it is signed or admitted: nothing starts in a scope that was stopped. */
@Injectable()
export class SpawnGate {
  constructor(
    private readonly epochs: KillEpochs,
    private readonly probes: ProbeStore,
    private readonly config: HubConfig,
  ) {}

  /** @throws WireFault `disarmed`, `policy-probe` */
  check(instance: string, tenant: string): void {
    const scope = this.epochs.forbidding(instance, tenant);
    if (scope !== undefined) throw new WireFault('disarmed', `${scope.scope} ${scope.scopeId}`);
    if (!this.config.killswitch.requireProbe) return;
    if (!this.probes.isProven(instance, Date.now())) throw new WireFault('policy-probe', instance);
  }
}
