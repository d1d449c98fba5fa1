import type { AuditRow } from '../audit/audit-chain.js';
import type { CommandMove, NewCommand, NewKillEpoch, RecordChange } from './record-change.js';

/**
 * One statement that writes a whole batch: one round trip, one commit, one fsync for whatever came in together.
 *
 * Written by hand because each table's rows travel as one JSON text: PostgreSQL takes them apart, which leaves the hub
 * a single JSON.stringify per table, and the statement's text never changes, so that it is prepared once.
 *
 * Clocks of replicas differ: a scope is re-armed only by the answer to its last disarming, which is of the same epoch and
 * dated a millisecond after it; a disarming gives way to its own answer alone, and to what is of a higher epoch and later.
 *
 * A command that is there already stays as it is; another command with its id fails on the digest, which must not be null.
 */
export const WRITE_STATEMENT = `
WITH
  new_commands AS (
    INSERT INTO commands (id, kind, instance, agent_id, state, issuer, envelope, admission, digest, created_at, expires_at)
    SELECT id, kind, instance, agent_id, state, issuer, decode(envelope, 'base64'), decode(admission, 'base64'),
      decode(digest, 'hex'), created_at, expires_at
    FROM json_to_recordset($1::json) AS x(id text, kind text, instance text, agent_id text, state text, issuer text,
      envelope text, admission text, digest text, created_at timestamptz, expires_at timestamptz)
    ON CONFLICT (id) DO UPDATE SET digest = CASE WHEN commands.digest = excluded.digest THEN commands.digest END),
  new_agents AS (
    INSERT INTO agents (agent_id, instance)
    SELECT agent_id, instance FROM json_to_recordset($2::json) AS x(agent_id text, instance text)),
  moves AS (
    UPDATE commands SET
      state = x.state,
      delivered_at = coalesce(commands.delivered_at, x.delivered_at),
      settled_at = coalesce(commands.settled_at, x.settled_at),
      refusal_code = x.refusal_code,
      refusal_sentence = x.refusal_sentence
    FROM json_to_recordset($3::json) AS x(id text, "from" text[], state text, delivered_at timestamptz,
      settled_at timestamptz, refusal_code text, refusal_sentence text)
    WHERE commands.id = x.id AND commands.state = ANY (x."from")),
  new_receipts AS (
    INSERT INTO receipts (digest, command_id, instance, agent_id, kind, envelope, received_at)
    SELECT decode(digest, 'hex'), command_id, instance, agent_id, kind, decode(envelope, 'base64'), received_at
    FROM json_to_recordset($4::json) AS x(digest text, command_id text, instance text, agent_id text, kind text,
      envelope text, received_at timestamptz)
    ON CONFLICT (digest) DO NOTHING),
  reports AS (
    INSERT INTO agents (agent_id, instance, revision, snapshot, as_of)
    SELECT agent_id, instance, revision, snapshot, as_of
    FROM json_to_recordset($5::json) AS x(agent_id text, instance text, revision bigint, snapshot jsonb, as_of timestamptz)
    ON CONFLICT (agent_id) DO UPDATE
      SET revision = excluded.revision, snapshot = excluded.snapshot, as_of = excluded.as_of
      WHERE agents.instance = excluded.instance AND (agents.revision IS NULL OR agents.revision < excluded.revision
        OR (agents.revision = excluded.revision AND agents.as_of < excluded.as_of))),
  new_kill_epochs AS (
    INSERT INTO kill_epochs (instance, scope, scope_id, epoch, armed, ordered_by, connection, changed_at)
    SELECT instance, scope, scope_id, epoch, armed, ordered_by, connection, changed_at
    FROM json_to_recordset($7::json) AS x(instance text, scope text, scope_id text, epoch bigint, armed boolean,
      ordered_by text, connection text, changed_at timestamptz)
    ON CONFLICT (instance, scope, scope_id) DO UPDATE
      SET epoch = excluded.epoch, armed = excluded.armed, ordered_by = excluded.ordered_by,
        connection = excluded.connection, changed_at = excluded.changed_at
      WHERE CASE WHEN excluded.armed
        THEN kill_epochs.epoch < excluded.epoch OR (kill_epochs.epoch = excluded.epoch
          AND (kill_epochs.armed OR kill_epochs.changed_at = excluded.changed_at - interval '1 millisecond'))
        ELSE (kill_epochs.epoch <= excluded.epoch OR kill_epochs.changed_at <= excluded.changed_at)
          AND NOT (kill_epochs.armed AND kill_epochs.epoch = excluded.epoch
            AND kill_epochs.changed_at = excluded.changed_at + interval '1 millisecond') END),
  new_audit AS (
    INSERT INTO audit (sequence, kind, subject, record, hash)
    SELECT sequence, kind, subject, record, decode(hash, 'base64')
    FROM json_to_recordset($6::json) AS x(sequence bigint, kind text, subject text, record text, hash text))
SELECT 1`;

/** The statement's parameters for a batch. */
export function writeParameters(batch: readonly RecordChange[], audit: readonly AuditRow[]): string[] {
  const rows = [
    commandsOnce(batch),
    present(batch.map((change) => change.newAgent)),
    mergedMoves(batch),
    present(batch.map((change) => change.receipt)),
    latestReports(batch),
    audit,
    latestKillEpochs(batch),
  ];
  return rows.map((list) => (list.length === 0 ? '[]' : JSON.stringify(list)));
}

/** One statement may touch a row once: a command that came twice is one. Two with one id are left to fail. */
function commandsOnce(batch: readonly RecordChange[]): NewCommand[] {
  const commands = present(batch.map((change) => change.command));
  return [...new Map(commands.map((command) => [`${command.id} ${command.digest}`, command])).values()];
}

/** One statement may touch a row once: several moves of a command become one, from where the first began. */
function mergedMoves(batch: readonly RecordChange[]): CommandMove[] {
  const merged = new Map<string, CommandMove>();
  for (const { move } of batch) {
    if (move === undefined) continue;
    const first = merged.get(move.id);
    merged.set(move.id, first === undefined ? move : followedBy(first, move));
  }
  return [...merged.values()];
}

function followedBy(first: CommandMove, next: CommandMove): CommandMove {
  if (!next.from.includes(first.state)) return first;
  return {
    id: first.id,
    from: [...new Set([...first.from, ...next.from])],
    state: next.state,
    delivered_at: first.delivered_at ?? next.delivered_at,
    settled_at: first.settled_at ?? next.settled_at,
    refusal_code: next.refusal_code,
    refusal_sentence: next.refusal_sentence,
  };
}

/** One statement may touch a row once: of several reports of an agent the newest is written. */
function latestReports(batch: readonly RecordChange[]): object[] {
  const newest = new Map<string, NonNullable<RecordChange['report']>>();
  for (const { report } of batch) {
    if (report === undefined) continue;
    const known = newest.get(report.agent_id);
    if (known === undefined || isNewer(report, known)) newest.set(report.agent_id, report);
  }
  return [...newest.values()];
}

/** One statement may touch a row once: the last word about a scope is written. */
function latestKillEpochs(batch: readonly RecordChange[]): NewKillEpoch[] {
  const latest = new Map<string, NewKillEpoch>();
  for (const row of batch.flatMap(({ killEpochs = [] }) => killEpochs))
    latest.set(JSON.stringify([row.instance, row.scope, row.scope_id]), row);
  return [...latest.values()];
}

function isNewer(a: { revision: number; as_of: string }, b: { revision: number; as_of: string }): boolean {
  return a.revision > b.revision || (a.revision === b.revision && a.as_of > b.as_of);
}

function present<T>(list: readonly (T | undefined)[]): T[] {
  return list.filter((item) => item !== undefined);
}
