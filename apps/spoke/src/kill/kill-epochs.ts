import { createLogger, ReaperClient } from '@capstan/platform';
import type { KillEpoch } from '@capstan/protocol';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { HeartbeatContents } from '../link/heartbeat-contents.js';

const EVERY_MS = 4_000;
/** A heartbeat is one frame: what does not fit is not told. The scopes of the whole instance come first. */
const MOST_TOLD = 256;

/**
 * The reaper's kill epochs, told to the hub in each heartbeat: the owner may have stopped the instance himself, and the
 * hub's next order must name the number that follows.
 */
@Injectable()
export class KillEpochs implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = createLogger('spoke.epochs');
  private known: KillEpoch[] = [];
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;

  constructor(
    private readonly reaper: ReaperClient,
    heartbeats: HeartbeatContents,
  ) {
    heartbeats.register(() => ({ killEpochs: this.known }));
  }

  onApplicationBootstrap(): void {
    this.refresh();
  }

  onModuleDestroy(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
  }

  /** Asks the reaper now; nobody waits for it. */
  refresh(): void {
    clearTimeout(this.timer);
    if (this.isStopped) return;
    this.reaper
      .describe()
      .then(({ killEpochs }) => {
        this.known = killEpochs.toSorted((a, b) => rank(a) - rank(b)).slice(0, MOST_TOLD);
      })
      .catch((err: unknown) => {
        this.log.debug({ err, msg: 'the kill epochs were not read' });
      })
      .finally(() => {
        clearTimeout(this.timer);
        if (!this.isStopped) this.timer = setTimeout(() => this.refresh(), EVERY_MS);
      });
  }
}

function rank({ scope }: KillEpoch): number {
  return scope === 'tenant' ? 1 : 0;
}
