import { isFaultCode, WireFault } from '@capstan/protocol';
import type { LinkRegistry } from '../connections/link.registry.js';
import type { Queries } from '../queries/queries.js';
import type { LogWatch } from './log-watches.js';

/** How long an instance tells lines without being asked again. */
const LEASE_MS = 30_000;
const RENEW_MS = 10_000;
/** After a question that failed. */
const RETRY_MS = 1_000;

/** Keeps the instance telling: asks again before the time is over, and at once on each new link. */
export class LogLease {
  /** The link on which the instance was asked last. */
  private session: string | undefined;
  private askAtMs = 0;
  private asking: Promise<void> | undefined;
  private answeredOn: string | undefined;
  /** Why the instance will never tell. */
  refusal: WireFault | undefined;

  constructor(
    private readonly watch: LogWatch,
    private readonly links: LinkRegistry,
    private readonly queries: Queries,
    private readonly by: string,
  ) {}

  /** Whether the instance is there and tells. */
  get isLive(): boolean {
    return this.answeredOn !== undefined && this.answeredOn === this.links.sessionOf(this.watch.instance);
  }

  /** Asks for the first time. @throws WireFault why nothing can be watched */
  async begin(): Promise<void> {
    await this.ask();
  }

  /** Called again and again: asks where it is time to, and waits for nothing. */
  tend(nowMs: number): void {
    const session = this.links.sessionOf(this.watch.instance);
    if (session === undefined) return;
    // A question that waits on a link that is gone holds nothing up.
    if (session === this.session && (this.asking !== undefined || nowMs < this.askAtMs)) return;
    const asking = this.ask()
      .catch((error: unknown) => {
        this.askAtMs = performance.now() + RETRY_MS;
        if (error instanceof WireFault && isFinal(error)) this.refusal = error;
      })
      .finally(() => {
        if (this.asking === asking) this.asking = undefined;
      });
    this.asking = asking;
  }

  /** Tells the instance that nobody watches any more; where it does not hear, its time runs out. */
  async end(): Promise<void> {
    const { instance, agentId, id: watchId } = this.watch;
    if (!this.isLive) return;
    await this.queries.watch(instance, { agentId, watchId, after: 0n, leaseMs: 0 }, this.by).catch(() => undefined);
  }

  private async ask(): Promise<void> {
    const { instance, agentId, id: watchId, feed } = this.watch;
    const session = this.links.sessionOf(instance);
    this.session = session;
    this.askAtMs = performance.now() + RENEW_MS;
    await this.queries.watch(instance, { agentId, watchId, after: BigInt(feed.last), leaseMs: LEASE_MS }, this.by);
    this.answeredOn = session;
  }
}

function isFinal({ code, retryable }: WireFault): boolean {
  return !retryable && isFaultCode(code);
}
