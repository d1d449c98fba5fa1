import { collectDefaultMetrics, Counter, Registry } from 'prom-client';

const registry = new Registry();
const refusals = new Counter({
  name: 'capstan_refusals_total',
  help: 'Messages and requests refused, by stable code.',
  labelNames: ['code'],
  registers: [registry],
});
let hasDefaults = false;

/** The figures of this process; one registry per process. */
export const metrics = {
  registry,
  refusals,
  /** Counts one refusal. */
  countRefusal(code: string): void {
    refusals.inc({ code });
  },
  /** Adds prom-client's figures of the process itself, once. */
  withProcessFigures(): void {
    if (hasDefaults) return;
    hasDefaults = true;
    collectDefaultMetrics({ register: registry, prefix: 'capstan_' });
  },
};
