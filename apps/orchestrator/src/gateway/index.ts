/**
 * The model gateway: the Anthropic Messages API on a unix socket per agent. It holds the key, meters tokens and cost,
 * and enforces budgets; agents have no other way to a model. Imports platform and protocol.
 */
export { rulesOf, type BudgetCode, type GatewayOrder, type GatewayRules } from './gateway-order.js';
export { ModelGateway, type GatewayParts, type GatewaySession } from './model-gateway.js';
export { createProvider, type ProviderSettings } from './create-provider.js';
export type { ModelProvider, ModelCall, ModelReply } from './provider.js';
export type { RetryClock } from './retrying.provider.js';
export { SpendLedger } from './spend-ledger.js';
export type { Usage } from './meter.js';
