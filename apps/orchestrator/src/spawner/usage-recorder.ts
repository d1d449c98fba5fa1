import type { AgentView } from '@capstan/protocol';

type Usage = AgentView['usage'];

/** Writes the newest figures only, one write at a time: a chatty agent costs no queue of writes. */
export class UsageRecorder {
  private latest: Usage | undefined;
  private writing = false;

  /** @param write stores the figures; its failure is its own business, the final figures are written at the end. */
  constructor(private readonly write: (usage: Usage) => Promise<unknown>) {}

  record(usage: Usage): void {
    this.latest = usage;
    if (!this.writing) void this.flush();
  }

  private async flush(): Promise<void> {
    this.writing = true;
    while (this.latest !== undefined) {
      const usage = this.latest;
      this.latest = undefined;
      await this.write(usage).catch(() => undefined);
    }
    this.writing = false;
  }
}
