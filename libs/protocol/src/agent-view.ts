import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { agentState, agentStateName, type AgentStateName } from './agent-state.js';
import { AgentSnapshotSchema, type AgentSnapshot, type Vitals, type VitalsSchema } from './gen/capstan/v1/agent_pb.js';

/** An agent as every HTTP API and the CLI show it. Times are ISO 8601, null where it has not happened. */
export interface AgentView {
  agentId: string;
  taskId: string;
  state: AgentStateName;
  runtime: string;
  queuedAt: string | null;
  startedAt: string | null;
  completedAt: string | null;
  error: { code: string; sentence: string } | null;
  harvest: HarvestView | null;
  usage: UsageView;
  unsandboxed: boolean;
  /** Grows by one with each change; orders views of the same agent. */
  revision: number;
  /** What of its repository it was not given; null where there is nothing to say. */
  warnings: readonly WarningView[] | null;
  /** Only where the instance itself was asked, and while the agent lives. */
  vitals?: VitalsView;
}

/** Something that a person should know of an agent, and that does not stop it. */
export interface WarningView {
  code: string;
  sentence: string;
}

/** How an agent that runs was seen last. Times are ISO 8601. */
export interface VitalsView {
  /** Its processes were seen alive. */
  heartbeatAt: string;
  /** It printed a line, or the model answered it. */
  progressAt: string;
  /** Processor time so far, milliseconds. */
  cpuMs: number;
  /** Thousandths of a processor, since the sample before. */
  cpuMilli: number;
  memoryBytes: number;
  peakMemoryBytes: number;
  processes: number;
  /** Why it counts as stalled, one sentence; null where it does not. */
  stalled: string | null;
}

export interface HarvestView {
  branch: string;
  baseCommit: string;
  commit: string;
  tree: string;
  files: string[];
  pushed: boolean;
}

export interface UsageView {
  requests: number;
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheWriteTokens: number;
  /** Millionths of a US dollar. */
  costMicroUsd: number;
}

// The farthest moment that a Date can hold: ECMA-262, 21.4.1.1.
const LAST_MS = 8_640_000_000_000_000n;
const NEVER = new Date(0).toISOString();
const iso = (ms: bigint): string | null => (ms <= 0n || ms > LAST_MS ? null : new Date(Number(ms)).toISOString());
const milliseconds = (time: string | null): bigint => (time === null ? 0n : BigInt(Date.parse(time)));

/** What a snapshot says, as JSON. @throws {WireFault} `payload-malformed` where its state is none. */
export function agentView(s: AgentSnapshot): AgentView {
  return {
    agentId: s.agentId,
    taskId: s.taskId,
    state: agentStateName(s.state),
    runtime: s.runtime,
    queuedAt: iso(s.queuedAtMs),
    startedAt: iso(s.startedAtMs),
    completedAt: iso(s.completedAtMs),
    error: s.error === undefined ? null : { code: s.error.code, sentence: s.error.sentence },
    harvest: s.harvest === undefined ? null : harvestView(s.harvest),
    usage: usageView(s.usage),
    unsandboxed: s.unsandboxed,
    revision: Number(s.revision),
    warnings: s.warnings.length === 0 ? null : s.warnings.map(({ code, sentence }) => ({ code, sentence })),
    ...(s.vitals === undefined ? {} : { vitals: vitalsView(s.vitals) }),
  };
}

function vitalsView(v: Vitals): VitalsView {
  return {
    heartbeatAt: iso(v.heartbeatAtMs) ?? NEVER,
    progressAt: iso(v.progressAtMs) ?? NEVER,
    cpuMs: Number(v.cpuMs),
    cpuMilli: v.cpuMilli,
    memoryBytes: Number(v.memoryBytes),
    peakMemoryBytes: Number(v.peakMemoryBytes),
    processes: v.processes,
    stalled: v.stalled === '' ? null : v.stalled,
  };
}

function vitalsOf({ heartbeatAt, progressAt, stalled, ...v }: VitalsView): MessageInitShape<typeof VitalsSchema> {
  return {
    heartbeatAtMs: milliseconds(heartbeatAt),
    progressAtMs: milliseconds(progressAt),
    cpuMs: BigInt(v.cpuMs),
    cpuMilli: v.cpuMilli,
    memoryBytes: BigInt(v.memoryBytes),
    peakMemoryBytes: BigInt(v.peakMemoryBytes),
    processes: v.processes,
    stalled: stalled ?? '',
  };
}

function harvestView(h: NonNullable<AgentSnapshot['harvest']>): HarvestView {
  const { branch, baseCommit, commit, tree, files, pushed } = h;
  return { branch, baseCommit, commit, tree, files: [...files], pushed };
}

function usageView(u: AgentSnapshot['usage']): UsageView {
  return {
    requests: Number(u?.requests ?? 0n),
    inputTokens: Number(u?.inputTokens ?? 0n),
    outputTokens: Number(u?.outputTokens ?? 0n),
    cacheReadTokens: Number(u?.cacheReadTokens ?? 0n),
    cacheWriteTokens: Number(u?.cacheWriteTokens ?? 0n),
    costMicroUsd: Number(u?.costMicroUsd ?? 0n),
  };
}

/** The reverse of {@link agentView}. */
export function agentSnapshot(v: AgentView): AgentSnapshot {
  return create(AgentSnapshotSchema, {
    agentId: v.agentId,
    taskId: v.taskId,
    state: agentState(v.state),
    runtime: v.runtime,
    queuedAtMs: milliseconds(v.queuedAt),
    startedAtMs: milliseconds(v.startedAt),
    completedAtMs: milliseconds(v.completedAt),
    ...(v.error === null ? {} : { error: { code: v.error.code, sentence: v.error.sentence } }),
    ...(v.harvest === null ? {} : { harvest: { ...v.harvest } }),
    usage: {
      requests: BigInt(v.usage.requests),
      inputTokens: BigInt(v.usage.inputTokens),
      outputTokens: BigInt(v.usage.outputTokens),
      cacheReadTokens: BigInt(v.usage.cacheReadTokens),
      cacheWriteTokens: BigInt(v.usage.cacheWriteTokens),
      costMicroUsd: BigInt(v.usage.costMicroUsd),
    },
    unsandboxed: v.unsandboxed,
    revision: BigInt(v.revision),
    warnings: [...(v.warnings ?? [])],
    ...(v.vitals === undefined ? {} : { vitals: vitalsOf(v.vitals) }),
  });
}
