import fc from 'fast-check';
import { create } from '@bufbuild/protobuf';
import { AGENT_TRANSITIONS, agentState, agentStateName, isTerminal, type AgentStateName } from './agent-state.js';
import { agentSnapshot, agentView, type AgentView, type VitalsView } from './agent-view.js';
import { AgentSnapshotSchema, AgentState } from './gen/capstan/v1/agent_pb.js';
import { decodeStrict } from './strict-decode.js';
import { toBinary } from './index.js';

const names = Object.keys(AGENT_TRANSITIONS) as AgentStateName[];
const time = fc
  .option(fc.integer({ min: 1, max: 4e12 }))
  .map((ms) => (ms === null ? null : new Date(ms).toISOString()));
const count = fc.nat(Number.MAX_SAFE_INTEGER);
const view: fc.Arbitrary<AgentView> = fc.record({
  agentId: fc.string({ unit: 'grapheme' }),
  taskId: fc.string(),
  state: fc.constantFrom(...names),
  runtime: fc.string(),
  queuedAt: time,
  startedAt: time,
  completedAt: time,
  error: fc.option(fc.record({ code: fc.string(), sentence: fc.string() })),
  harvest: fc.option(
    fc.record({
      branch: fc.string(),
      baseCommit: fc.string(),
      commit: fc.string(),
      tree: fc.string(),
      files: fc.array(fc.string()),
      pushed: fc.boolean(),
    }),
  ),
  usage: fc.record({
    requests: count,
    inputTokens: count,
    outputTokens: count,
    cacheReadTokens: count,
    cacheWriteTokens: count,
    costMicroUsd: count,
  }),
  unsandboxed: fc.boolean(),
  revision: count,
  warnings: fc.option(fc.array(fc.record({ code: fc.string(), sentence: fc.string() }), { minLength: 1 })),
});
const moment = fc.integer({ min: 1, max: 4e12 }).map((ms) => new Date(ms).toISOString());
const vitals: fc.Arbitrary<VitalsView> = fc.record({
  heartbeatAt: moment,
  progressAt: moment,
  cpuMs: count,
  cpuMilli: fc.nat(0xffff_ffff),
  memoryBytes: count,
  peakMemoryBytes: count,
  processes: fc.nat(0xffff_ffff),
  stalled: fc.option(fc.string({ minLength: 1 })),
});

describe('agentView', () => {
  it('comes back from the wire as it was', () => {
    fc.assert(
      fc.property(view, fc.option(vitals), (plain, seen) => {
        const v = seen === null ? plain : { ...plain, vitals: seen };
        const bytes = toBinary(AgentSnapshotSchema, agentSnapshot(v));
        expect(agentView(decodeStrict(AgentSnapshotSchema, bytes))).toEqual(v);
      }),
    );
  });

  it('shows times that no date can hold as not happened', () => {
    const snapshot = create(AgentSnapshotSchema, { state: AgentState.QUEUED, queuedAtMs: 2n ** 62n, startedAtMs: -1n });
    expect(agentView(snapshot)).toMatchObject({ queuedAt: null, startedAt: null });
  });

  it('refuses a snapshot without a state', () => {
    expect(() => agentView(create(AgentSnapshotSchema))).toThrow(
      expect.objectContaining({ code: 'payload-malformed' }),
    );
  });
});

describe('agent states', () => {
  it('have names that the wire knows', () => {
    for (const name of names) expect(agentStateName(agentState(name))).toBe(name);
  });

  it('end in completed, failed or killed, which nothing leaves', () => {
    expect(names.filter(isTerminal)).toEqual(['completed', 'failed', 'killed']);
  });

  it('never go back once the agent runs', () => {
    expect(AGENT_TRANSITIONS.running).toEqual(['completed', 'failed', 'killed']);
  });
});
