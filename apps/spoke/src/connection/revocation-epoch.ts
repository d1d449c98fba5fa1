import { readFile } from 'node:fs/promises';
import { replaceFile } from '@capstan/identity';
import type { Heartbeats, Link } from '@capstan/link';
import { createLogger, metrics } from '@capstan/platform';
import { type FaultCode, faultSentence, LocalFault } from '@capstan/protocol';
import { Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import { HeartbeatContents } from '../link/heartbeat-contents.js';

/** How far one heartbeat may raise it: no hub revokes as much between two of them, and nobody has signed what it says. */
const MOST_STEP = 1_000n;

/**
 * The highest revocation epoch that the hub has shown, in a file. It never goes back: a hub that shows a lower one was
 * set back to a time before some revocation, and would let the revoked in again. Nor does it leap: a hub that was broken
 * into could count so far that the mended one is behind for ever. The owner removes the file, while the spoke is down, to
 * begin anew.
 */
@Injectable()
export class RevocationEpoch implements OnModuleInit, OnModuleDestroy {
  private readonly log = createLogger('spoke.revocation');
  private readonly file: string;
  private highest = 0n;
  /** Whether the hub has shown one at all: the first is taken as it is. */
  private isShown = false;
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
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    });
    if (text === undefined) return;
    if (!/^\d{1,20}\n?$/.test(text)) {
      const what = 'The file with the revocation epoch cannot be read.';
      throw new LocalFault('revocation-epoch-malformed', what, this.file);
    }
    this.highest = BigInt(text.trim());
    this.isShown = true;
  }

  async onModuleDestroy(): Promise<void> {
    await this.writing;
  }

  private seen(link: Link, { revocationEpoch: shown }: Heartbeats): void {
    if (shown < this.highest) return this.refuse(link, 'epoch-older', shown);
    if (this.isShown && shown > this.highest + MOST_STEP) return this.refuse(link, 'epoch-jump', shown);
    if (this.isShown && shown === this.highest) return;
    this.isShown = true;
    this.highest = shown;
    this.writing = this.writing.then(() => this.write(shown));
  }

  private refuse(link: Link, code: FaultCode, shown: bigint): void {
    metrics.countRefusal(code);
    this.log.error({ msg: 'the hub shows a revocation epoch that cannot be', code, shown, known: this.highest });
    void link.close(code, faultSentence(code));
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
