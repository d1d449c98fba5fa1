import { readFile } from 'node:fs/promises';
import type { Heartbeats, Link } from '@capstan/link';
import { createLogger, metrics } from '@capstan/platform';
import { faultSentence, LocalFault } from '@capstan/protocol';
import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import { replaceFile } from '../instance/replace-file.js';
import { HeartbeatContents } from '../link/heartbeat-contents.js';

/**
 * The highest revocation epoch that the hub has shown, in a file. It never goes back: a hub that shows a lower one was
 * set back to a time before some revocation, and would let the revoked in again.
 */
@Injectable()
export class RevocationEpoch implements OnModuleInit, OnModuleDestroy {
  private readonly log = createLogger('spoke.revocation');
  private readonly file: string;
  private highest = 0n;
  private writing: Promise<void> = Promise.resolve();

  constructor(config: SpokeConfig, heartbeats: HeartbeatContents) {
    this.file = config.dir.revocationEpochFile;
    heartbeats.register(() => ({ revocationEpoch: this.highest }));
    heartbeats.onReceived((link, heartbeat) => this.seen(link, heartbeat));
  }

  get current(): bigint {
    return this.highest;
  }

  /** @throws LocalFault `revocation-epoch-malformed` */
  async onModuleInit(): Promise<void> {
    const text = await readFile(this.file, 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '0';
      throw error;
    });
    if (!/^\d{1,20}\n?$/.test(text)) {
      const what = 'The file with the revocation epoch cannot be read.';
      throw new LocalFault('revocation-epoch-malformed', what, this.file);
    }
    this.highest = BigInt(text.trim());
  }

  async onModuleDestroy(): Promise<void> {
    await this.writing;
  }

  private seen(link: Link, { revocationEpoch }: Heartbeats): void {
    if (revocationEpoch < this.highest) {
      metrics.countRefusal('epoch-older');
      this.log.error({ msg: 'the hub went back behind a revocation', shown: revocationEpoch, known: this.highest });
      void link.close('epoch-older', faultSentence('epoch-older'));
      return;
    }
    if (revocationEpoch === this.highest) return;
    this.highest = revocationEpoch;
    this.writing = this.writing.then(() => this.write(revocationEpoch));
  }

  /** On a full disk it is kept in memory: the link must not depend on it. */
  private async write(epoch: bigint): Promise<void> {
    try {
      await replaceFile(this.file, `${String(epoch)}\n`, 0o600);
    } catch (error) {
      this.log.error({ err: error, msg: 'the revocation epoch could not be written' });
    }
  }
}
