import { chainHash, GENESIS, makeBundle, type ReceiptBundle, type ReceiptKind } from '@capstan/evidence';
import { envelopeDigest, keyRecordToJson } from '@capstan/identity';
import {
  AgentState,
  KillOutcome,
  KillScope,
  toHex,
  type Envelope,
  type FaultCode,
  type KilledAgentSchema,
  type MessageInitShape,
} from '@capstan/protocol';
import { command, commandHeader, KILL, killAllStatement, observation, receipt, trust } from './world.js';

export interface ReceiptVectors {
  description: string;
  trust: unknown[];
  good: { name: string; kind: ReceiptKind; bundle: ReceiptBundle }[];
  bad: { name: string; code: FaultCode; bundle: ReceiptBundle }[];
}

const kill = command(KILL);
const status = command({ case: 'status', value: { agentId: 'agent-1' } });
const spawn = command({ case: 'spawn', value: { agentId: 'agent-1', taskId: 'task-1', runtime: 'claude' } });
const killAll = command({ case: 'killAll', value: { scope: KillScope.INSTANCE, epoch: 1n } });
const other = command(KILL, commandHeader({ lifetimeMs: 61_000 }));
const foreign = command(KILL, commandHeader({ audience: 'harbor' }));

const digest = envelopeDigest(kill);
const agent = { agentId: 'agent-1', taskId: 'task-1', state: AgentState.QUEUED, runtime: 'claude', revision: 1n };

type Observation = Parameters<typeof observation>;
/** A kill's receipt around an observation. */
function killed(outcome: KillOutcome, seen: Uint8Array, by?: 'hub' | 'stranger' | 'reaper'): Envelope {
  return receipt(digest, { result: { case: 'killed', value: { outcome, observation: seen } } }, by);
}
/** A kill's result with an observation of this order. */
const dead = (order: Uint8Array) =>
  ({ case: 'killed', value: { outcome: KillOutcome.KILLED, observation: observation(order) } }) as const;
const seen = (change?: Observation[1], by?: Observation[2], header?: Observation[3]): Uint8Array =>
  observation(digest, change, by, header);
const TOMBSTONE = { processes: [], pidNamespace: 0n, cgroup: '', membersBefore: 0, outcome: KillOutcome.TOMBSTONED };

const ordered = envelopeDigest(killAll);
const deathOf = (agentId: string, change: Observation[1] = {}, order = ordered) => ({
  agentId,
  result: {
    outcome: change.outcome ?? KillOutcome.KILLED,
    observation: observation(order, { agentId, ...change }),
  },
});
const BOTH = [deathOf('agent-1'), deathOf('agent-2')];
/** The answer to a kill-all, with what the reaper has stated of it. */
const allDead = (
  statement = killAllStatement(ordered),
  agents: MessageInitShape<typeof KilledAgentSchema>[] = BOTH,
  epoch = 1n,
): Envelope => {
  const value = { epoch, agents, statement };
  return receipt(ordered, { agentId: '', result: { case: 'killedAll', value } });
};
type Stated = Parameters<typeof killAllStatement>;
const stated = (change?: Stated[1], by?: Stated[2], header?: Stated[3]): Uint8Array =>
  killAllStatement(ordered, change, by, header);
const GONE = { outcome: KillOutcome.ALREADY_GONE } as const;

const good: [name: string, kind: ReceiptKind, receipt: Envelope, command?: Envelope][] = [
  ['killed', 'killed', killed(KillOutcome.KILLED, seen()), kill],
  ['killed, without the command', 'killed', killed(KillOutcome.KILLED, seen())],
  ['already gone', 'killed', killed(KillOutcome.ALREADY_GONE, seen({ outcome: KillOutcome.ALREADY_GONE })), kill],
  [
    'already gone, observed before this order',
    'killed',
    killed(KillOutcome.ALREADY_GONE, observation(new Uint8Array(), { outcome: KillOutcome.ALREADY_GONE })),
    kill,
  ],
  ['tombstoned', 'killed', killed(KillOutcome.TOMBSTONED, seen(TOMBSTONE)), kill],
  ['unconfirmed, with nothing observed', 'killed', killed(KillOutcome.UNCONFIRMED, new Uint8Array()), kill],
  ['all killed', 'killed-all', allDead(), killAll],
  ['all killed, in another order than stated', 'killed-all', allDead(stated(), BOTH.toReversed()), killAll],
  [
    'all killed, one already gone',
    'killed-all',
    allDead(stated(), [deathOf('agent-1'), deathOf('agent-2', GONE)]),
    killAll,
  ],
  ['all killed where none lived', 'killed-all', allDead(stated({ agents: [] }), []), killAll],
  ['all killed, without a statement: it confirms nothing', 'killed-all', allDead(new Uint8Array()), killAll],
  ['spawned', 'spawned', receipt(envelopeDigest(spawn), { result: { case: 'spawned', value: agent } }), spawn],
  ['status', 'status', receipt(envelopeDigest(status), { result: { case: 'status', value: agent } }), status],
  [
    'refused',
    'refused',
    receipt(envelopeDigest(spawn), {
      agentId: '',
      result: { case: 'refused', value: { code: 'policy-runtime', sentence: 'No.', retryable: false } },
    }),
    spawn,
  ],
];

const bad: [name: string, code: FaultCode, receipt: Envelope, command?: Envelope][] = [
  ['killed, without an observation', 'observation-missing', killed(KillOutcome.KILLED, new Uint8Array()), kill],
  ['tombstoned, without an observation', 'observation-missing', killed(KillOutcome.TOMBSTONED, new Uint8Array()), kill],
  [
    "an observation signed by the spoke's own key",
    'observation-invalid',
    killed(KillOutcome.KILLED, seen({}, 'spoke')),
    kill,
  ],
  [
    'an observation signed by a stranger',
    'observation-invalid',
    killed(KillOutcome.KILLED, seen({}, 'stranger')),
    kill,
  ],
  [
    "an observation by another instance's reaper",
    'observation-invalid',
    killed(KillOutcome.KILLED, seen({}, "another instance's reaper")),
    kill,
  ],
  [
    "an observation by another instance's reaper in its own name",
    'observation-invalid',
    killed(KillOutcome.KILLED, seen({}, "another instance's reaper", { issuer: 'harbor' })),
    kill,
  ],
  [
    'unconfirmed, dressed up as killed',
    'observation-invalid',
    killed(KillOutcome.KILLED, seen({ outcome: KillOutcome.UNCONFIRMED })),
    kill,
  ],
  ['tombstoned, dressed up as killed', 'observation-invalid', killed(KillOutcome.KILLED, seen(TOMBSTONE)), kill],
  ['the death of another agent', 'observation-invalid', killed(KillOutcome.KILLED, seen({ agentId: 'agent-2' })), kill],
  [
    'killed, by an earlier order',
    'observation-invalid',
    killed(KillOutcome.KILLED, observation(envelopeDigest(other))),
    kill,
  ],
  [
    'killed, with nothing named',
    'observation-invalid',
    killed(KillOutcome.KILLED, seen({ ...TOMBSTONE, outcome: KillOutcome.KILLED })),
    kill,
  ],
  ['an observation that is cut off', 'observation-invalid', killed(KillOutcome.KILLED, seen().subarray(0, -1)), kill],
  [
    'all killed, one of them without proof',
    'observation-invalid',
    allDead(stated(), [
      deathOf('agent-1'),
      {
        agentId: 'agent-2',
        result: { outcome: KillOutcome.KILLED, observation: observation(ordered, { agentId: 'agent-2' }, 'spoke') },
      },
    ]),
    killAll,
  ],
  [
    'all killed, one of them in an earlier life',
    'observation-invalid',
    allDead(stated(), [deathOf('agent-1'), deathOf('agent-2', GONE, digest)]),
    killAll,
  ],
  [
    'all killed, and one that the reaper names is left out',
    'statement-invalid',
    allDead(stated(), BOTH.slice(0, 1)),
    killAll,
  ],
  ['all killed, and all that the reaper names are left out', 'statement-invalid', allDead(stated(), []), killAll],
  [
    'all killed, one of them twice',
    'statement-invalid',
    allDead(stated(), BOTH.slice(0, 1).concat(BOTH.slice(0, 1))),
    killAll,
  ],
  [
    'all killed, and one that the reaper does not name',
    'statement-invalid',
    allDead(stated({ agents: ['agent-1'] })),
    killAll,
  ],
  ["all killed, stated by the spoke's own key", 'statement-invalid', allDead(stated({}, 'spoke')), killAll],
  ['all killed, stated by a stranger', 'statement-invalid', allDead(stated({}, 'stranger')), killAll],
  [
    "all killed, stated by another instance's reaper",
    'statement-invalid',
    allDead(stated({}, "another instance's reaper", { issuer: 'harbor' })),
    killAll,
  ],
  ['all killed, stated for another command', 'statement-invalid', allDead(killAllStatement(digest)), killAll],
  ['all killed, stated for another epoch', 'statement-invalid', allDead(stated({ epoch: 2n })), killAll],
  [
    'all killed, stated and answered for another epoch than was ordered',
    'statement-invalid',
    allDead(stated({ epoch: 2n }), BOTH, 2n),
    killAll,
  ],
  ['all killed, stated for the mesh', 'statement-invalid', allDead(stated({ scope: KillScope.MESH })), killAll],
  [
    'all killed, stated for a tenant',
    'statement-invalid',
    allDead(stated({ scope: KillScope.TENANT, scopeId: 'default' })),
    killAll,
  ],
  ['all killed, with a death for a statement', 'statement-invalid', allDead(observation(ordered)), killAll],
  ['all killed, with a statement that is cut off', 'statement-invalid', allDead(stated().subarray(0, -1)), killAll],
  ['signed by a stranger', 'key-unknown', killed(KillOutcome.KILLED, seen(), 'stranger'), kill],
  ['signed by the hub', 'key-purpose', killed(KillOutcome.KILLED, seen(), 'hub'), kill],
  ['signed by the reaper', 'key-purpose', killed(KillOutcome.KILLED, seen(), 'reaper'), kill],
  ['a command instead of a receipt', 'payload-type-unknown', kill, kill],
  ['for another command', 'receipt-mismatch', killed(KillOutcome.KILLED, seen()), other],
  [
    'with the digest of one command and the id of another',
    'receipt-mismatch',
    receipt(digest, { commandId: '019b7c9e-6d2e-7000-8000-0000000000ff', result: dead(digest) }),
    kill,
  ],
  [
    'with the digest of one command and the issuer of another',
    'receipt-mismatch',
    receipt(digest, { commandIssuer: 'other-hub', result: dead(digest) }),
    kill,
  ],
  [
    'for a command to another instance',
    'receipt-mismatch',
    receipt(envelopeDigest(foreign), { result: dead(envelopeDigest(foreign)) }),
    foreign,
  ],
  [
    'a status in answer to a kill',
    'receipt-mismatch',
    receipt(digest, { result: { case: 'status', value: agent } }),
    kill,
  ],
  [
    'the state of another agent',
    'receipt-mismatch',
    receipt(envelopeDigest(status), { result: { case: 'status', value: { ...agent, agentId: 'agent-2' } } }),
    status,
  ],
  [
    'about another agent',
    'receipt-mismatch',
    receipt(envelopeDigest(status), {
      agentId: 'agent-2',
      result: { case: 'status', value: { ...agent, agentId: 'agent-2' } },
    }),
    status,
  ],
  ['without a result', 'payload-malformed', receipt(digest, {}), kill],
];

/** Receipts in bundles, with and without the command that they answer. */
export function receiptVectors(): ReceiptVectors {
  const bundle = (envelope: Envelope, answered?: Envelope): ReceiptBundle =>
    makeBundle({ receipt: envelope, ...(answered === undefined ? {} : { command: answered }) });
  return {
    description: 'Receipt bundles for offline verification with the pinned keys of trust. No clock is asked.',
    trust: trust().records().map(keyRecordToJson),
    good: good.map(([name, kind, envelope, answered]) => ({ name, kind, bundle: bundle(envelope, answered) })),
    bad: bad.map(([name, code, envelope, answered]) => ({ name, code, bundle: bundle(envelope, answered) })),
  };
}

/** The audit log's chain over records of any bytes. */
export function chainVectors(): unknown {
  let hash = GENESIS;
  const records = ['', 'record', '{"sequence":3}'].map((record) => {
    hash = chainHash(hash, new TextEncoder().encode(record));
    return { record, hash: toHex(hash) };
  });
  return { description: 'hash = SHA-256(hash before || record), from genesis on.', genesis: toHex(GENESIS), records };
}
