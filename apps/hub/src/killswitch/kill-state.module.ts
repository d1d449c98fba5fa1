import { Module } from '@nestjs/common';
import { KillEpochs } from './kill-epochs.js';
import { ProbeStore } from './probe.store.js';
import { SpawnGate } from './spawn-gate.js';
import { Stopping } from './stopping.js';

/** What is known of stopping: which scopes are disarmed, which instances a kill would reach. Others ask; it asks nobody. */
@Module({
  providers: [KillEpochs, ProbeStore, SpawnGate, Stopping],
  exports: [KillEpochs, ProbeStore, SpawnGate, Stopping],
})
export class KillStateModule {}
