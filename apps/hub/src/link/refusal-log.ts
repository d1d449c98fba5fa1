import { Injectable } from '@nestjs/common';
import { createLogger, metrics } from '@capstan/platform';
import type { WireFault } from '@capstan/protocol';
import { RecordWriter } from '../database/record-writer.js';

const WINDOW_MS = 60_000;
/** Refusals of one instance that are audited in a window; the metric counts them all. */
const MOST_AUDITED = 60;

/** Records what was refused from an instance, without letting it fill the record. */
@Injectable()
export class RefusalLog {
  private readonly log = createLogger('hub.refusals');
  private readonly windows = new Map<string, { until: number; count: number }>();

  constructor(private readonly writer: RecordWriter) {}

  note(instance: string, { code, detail }: WireFault, digest: string): void {
    metrics.countRefusal(code);
    if (!this.isWithinBounds(instance)) return;
    this.log.warn({ instance, code, detail, digest, msg: 'refused an envelope' });
    const audit = [{ kind: 'envelope.refused', subject: instance, atMs: Date.now(), detail: { code, digest } }];
    this.writer.write({ audit }, { isLazy: true }).catch((err: unknown) => {
      this.log.warn({ err, instance, code, msg: 'a refusal was not audited' });
    });
  }

  private isWithinBounds(instance: string): boolean {
    const nowMs = performance.now();
    const known = this.windows.get(instance);
    const window = known === undefined || known.until <= nowMs ? { until: nowMs + WINDOW_MS, count: 0 } : known;
    window.count += 1;
    this.windows.set(instance, window);
    return window.count <= MOST_AUDITED;
  }
}
