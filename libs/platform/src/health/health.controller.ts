import { Controller, Get, Inject } from '@nestjs/common';
import { LocalFault } from '@capstan/protocol';
import { Open } from '../http/bearer.guard.js';

/** Name of a part → a probe that rejects while the part cannot be used. */
export type ReadinessChecks = Readonly<Record<string, () => Promise<unknown>>>;
export const READINESS_CHECKS = Symbol('readiness checks');
const PROBE_MS = 2000;

/** Open to everybody, and says nothing but healthy or not. */
@Open()
@Controller('health')
export class HealthController {
  constructor(@Inject(READINESS_CHECKS) private readonly checks: ReadinessChecks) {}

  /** The process lives and its event loop turns. */
  @Get()
  health(): { status: 'healthy'; uptime: number; timestamp: string } {
    return {
      status: 'healthy',
      uptime: Math.round(process.uptime() * 1000) / 1000,
      timestamp: new Date().toISOString(),
    };
  }

  /** Every part that this process needs answers; 503 while one does not. */
  @Get('ready')
  async ready(): Promise<{ status: 'ready' }> {
    const probes = Object.values(this.checks).map((probe) => withinTime(probe()));
    const results = await Promise.allSettled(probes);
    if (results.some((result) => result.status === 'rejected'))
      throw new LocalFault('not-ready', 'A part that this process needs does not answer.');
    return { status: 'ready' };
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
