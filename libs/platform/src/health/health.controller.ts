import { Controller, Get, Inject } from '@nestjs/common';
import { LocalFault } from '@capstan/protocol';
import { Open } from '../http/bearer.guard.js';

/** Name of a part → a probe that rejects while the part cannot be used. */
export type ReadinessChecks = Readonly<Record<string, () => Promise<unknown>>>;
export const READINESS_CHECKS = Symbol('readiness checks');
/** Name of a part → whether the process does without it just now, and serves less. */
export type Degradations = Readonly<Record<string, () => boolean>>;
export const DEGRADATIONS = Symbol('degradations');
const PROBE_MS = 2000;

/** Open to everybody, and says nothing but healthy or not, and which part is missing. */
@Open()
@Controller('health')
export class HealthController {
  constructor(
    @Inject(READINESS_CHECKS) private readonly checks: ReadinessChecks,
    @Inject(DEGRADATIONS) private readonly degradations: Degradations,
  ) {}

  /** The process lives and its event loop turns. */
  @Get()
  health(): { status: 'healthy'; uptime: number; timestamp: string } {
    return {
      status: 'healthy',
      uptime: Math.round(process.uptime() * 1000) / 1000,
      timestamp: new Date().toISOString(),
    };
  }

  /**
   * Every part that this process needs answers. `degraded`: it serves less, for want of these.
   *
   * @throws LocalFault `not-ready`: one does not answer
   */
  @Get('ready')
  async ready(): Promise<{ status: 'ready' } | { status: 'degraded'; degraded: string[] }> {
    const probes = Object.values(this.checks).map((probe) => withinTime(probe()));
    const results = await Promise.allSettled(probes);
    if (results.some((result) => result.status === 'rejected'))
      throw new LocalFault('not-ready', 'A part that this process needs does not answer.');
    const degraded = Object.entries(this.degradations).flatMap(([name, isMissing]) => (isMissing() ? [name] : []));
    return degraded.length === 0 ? { status: 'ready' } : { status: 'degraded', degraded };
  }
}

async function withinTime(probe: Promise<unknown>): Promise<unknown> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new Error('no answer in time'));
  }, PROBE_MS);
  try {
    return await Promise.race([probe, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
