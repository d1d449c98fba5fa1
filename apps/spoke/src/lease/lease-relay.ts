import { createLogger, ReaperClient } from '@capstan/platform';
import { Injectable } from '@nestjs/common';
import { HeartbeatContents } from '../link/heartbeat-contents.js';

/** Carries the hub's renewals of leases from heartbeats to the reaper, unread: the reaper judges them itself. */
@Injectable()
export class LeaseRelay {
  private readonly log = createLogger('spoke.lease');
  /** What was last logged; the same fault again every few seconds says nothing new. */
  private lastFault: string | undefined;

  constructor(
    heartbeats: HeartbeatContents,
    private readonly reaper: ReaperClient,
  ) {
    heartbeats.onReceived((_link, { leaseRenewal }) => {
      if (leaseRenewal !== undefined) void this.carry(leaseRenewal);
    });
  }

  private async carry(renewal: Uint8Array): Promise<void> {
    try {
      const answer = await this.reaper.renew(renewal);
      this.note(answer.ok ? undefined : answer.code);
    } catch (err) {
      this.note(err instanceof Error ? err.message : String(err));
    }
  }

  private note(fault: string | undefined): void {
    if (fault !== undefined && fault !== this.lastFault) {
      this.log.warn({ fault, msg: 'a renewal was not taken: agents that need it will be killed' });
    }
    this.lastFault = fault;
  }
}
