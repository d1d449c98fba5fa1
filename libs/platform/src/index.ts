/**
 * The shell around our Nest processes: configuration, logs, HTTP problems, health, metrics, Valkey, the owner's policy,
 * shutdown. Imports `protocol` and nothing else of ours; knows nothing of hubs, spokes or agents.
 */
export { LocalFault } from '@capstan/protocol';
export { loadConfig } from './config/load-config.js';
export { createLogger, type Logger, type LoggerOptions } from './logging/logger.js';
export { NestLog } from './logging/nest-log.js';
export { redactText, redactValue } from './logging/redaction.js';
export { type Problem, problemOf } from './http/problem.js';
export { ProblemFilter } from './http/problem.filter.js';
export { hubLostOf } from './http/hub-lost.js';
export { RequestFault, type FieldError, requestValidation } from './http/request-validation.js';
export { BearerGuard, Caller, Open, bearerOf, tokenMatches } from './http/bearer.guard.js';
export { loadOrCreateToken } from './http/token-file.js';
export { type ListenTarget, parseListenTarget, listen } from './http/listen.js';
export { HealthModule, type ReadinessChecks } from './health/health.module.js';
export { HealthController } from './health/health.controller.js';
export { type RunAppOptions, runApp, runContext, runMain } from './lifecycle/run-app.js';
export { type ValkeyAddress, parseValkeyUrl } from './valkey/valkey-url.js';
export { connectValkey, closeValkey } from './valkey/connect-valkey.js';
export { Script } from './valkey/script.js';
export {
  type DemandableLimit,
  type OwnerPolicy,
  type SpawnPolicy,
  type StallPolicy,
  loadPolicy,
  parsePolicy,
} from './policy/owner-policy.js';
export {
  type CommandOrigin,
  type DemandableCommand,
  type OriginPolicy,
  type PeerCommand,
  type PeerRule,
  checkOrigin,
} from './policy/origin-policy.js';
export type { ProgramPolicy, ProgramsPolicy } from './policy/program-policy.js';
export { DEFAULT_COMPACTION, type CompactionPolicy } from './policy/compaction-policy.js';
export type { SecretAllowance, SecretScanPolicy } from './policy/secret-scan-policy.js';
export { type SpawnRequestFacts, type SpawnLimits, checkPolicy } from './policy/check-policy.js';
export { type LocalCall, openLocal, orchestratorAway, readLocal } from './orchestrator-client/local-http.js';
export { refusalOf } from './orchestrator-client/refusal.js';
export {
  OrchestratorClient,
  type OrchestratorClientOptions,
  type OrchestratorEvent,
  type OrchestratorEventFilter,
  type OrchestratorKill,
  type OrchestratorTaskKill,
  type OrchestratorSpawn,
} from './orchestrator-client/orchestrator-client.js';
export { metrics } from './metrics/metrics.js';
export { MetricsController } from './metrics/metrics.controller.js';
export {
  ReaperClient,
  type DeathReport,
  type KillAllResult,
  type KillOrder,
  type KillScopeName,
  type RearmResult,
  type RegisterResult,
} from './reaper-client/reaper-client.js';
