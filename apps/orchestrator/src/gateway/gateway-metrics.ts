import { Counter, Histogram } from 'prom-client';
import { metrics } from '@capstan/platform';
import type { ApiFault } from './api-fault.js';
import { priceOf } from './prices.js';
import type { RequestRecord } from './request-record.js';

const registers = [metrics.registry];
const requests = new Counter({
  name: 'capstan_model_requests_total',
  help: 'Requests that were sent to a model, by model (other: one without a list price) and status; 0 where no reply came.',
  labelNames: ['model', 'status'],
  registers,
});
const refusals = new Counter({
  name: 'capstan_model_refusals_total',
  help: 'Requests of agents that got no reply of a model, by type of the refusal.',
  labelNames: ['type'],
  registers,
});
const repeats = new Counter({
  name: 'capstan_model_repeats_total',
  help: 'Times that a request was sent again because the model was away.',
  registers,
});
const broken = new Counter({
  name: 'capstan_model_broken_replies_total',
  help: 'Replies that began and did not come to their end.',
  registers,
});
const tokens = new Counter({
  name: 'capstan_model_tokens_total',
  help: 'Tokens, by kind.',
  labelNames: ['kind'],
  registers,
});
const cost = new Counter({
  name: 'capstan_model_cost_micro_usd_total',
  help: 'Millionths of a US dollar, by model.',
  labelNames: ['model'],
  registers,
});
const seconds = new Histogram({
  name: 'capstan_model_request_seconds',
  help: 'From the request to the end of the reply.',
  buckets: [0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300],
  registers,
});

/** Adds one request to the figures. */
export function countRequest({ model, status, attempts, isWhole, costMicroUsd, ms, ...record }: RequestRecord): void {
  const label = labelOf(model);
  requests.inc({ model: label, status: String(status) });
  if (attempts > 1) repeats.inc(attempts - 1);
  if (status === 200 && !isWhole) broken.inc();
  cost.inc({ model: label }, costMicroUsd);
  seconds.observe(ms / 1000);
  for (const [kind, count] of Object.entries(record.tokens ?? {})) tokens.inc({ kind }, count as number);
}

/** The agent chooses the model's name, and each name would be a series for ever. */
function labelOf(model: string): string {
  return model === 'scripted' || priceOf(model) !== undefined ? model : 'other';
}

export function countRefusal({ type }: ApiFault): void {
  refusals.inc({ type });
}
