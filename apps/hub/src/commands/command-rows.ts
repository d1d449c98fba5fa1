import { decodeEnvelope } from '@capstan/protocol';
import { LocalFault } from '@capstan/platform';
import type { CommandMove, NewCommand } from '../database/record-change.js';
import type { commands } from '../database/schema.js';
import type { CommandKind, CommandRecord } from './command-record.js';
import { envelopeText } from './envelope-text.js';
import { type CommandState, isCommandState, statesBefore } from './command-state.js';

export function newCommandRow(record: CommandRecord): NewCommand {
  return {
    id: record.id,
    kind: record.kind,
    instance: record.instance,
    agent_id: record.agentId,
    state: record.state,
    issuer: record.issuer,
    envelope: envelopeText(record.envelope),
    admission: record.admission === null ? null : envelopeText(record.admission),
    digest: record.digest,
    created_at: record.createdAt.toISOString(),
    expires_at: record.expiresAt.toISOString(),
  };
}

/** The move that brings a row to where `record` is; from its own state too, so that times can be added. */
export function commandMove(record: CommandRecord): CommandMove {
  return {
    id: record.id,
    from: MOVES_FROM[record.state],
    state: record.state,
    delivered_at: record.deliveredAt?.toISOString() ?? null,
    settled_at: record.settledAt?.toISOString() ?? null,
    refusal_code: record.refusal?.code ?? null,
    refusal_sentence: record.refusal?.sentence ?? null,
  };
}

const MOVES_FROM: Readonly<Record<CommandState, readonly CommandState[]>> = {
  PENDING: ['PENDING'],
  DELIVERED: [...statesBefore('DELIVERED'), 'DELIVERED'],
  FAILED: statesBefore('FAILED'),
  TIMEOUT: statesBefore('TIMEOUT'),
};

export function commandOfRow(row: typeof commands.$inferSelect): CommandRecord {
  const { id, kind, instance, agentId, state, createdAt, expiresAt, deliveredAt, settledAt } = row;
  if (!isCommandState(state)) throw new LocalFault('database-content', `Command ${id} has no known state.`);
  return {
    id,
    kind: kind as CommandKind,
    instance,
    agentId,
    issuer: row.issuer,
    envelope: decodeEnvelope(row.envelope),
    admission: row.admission === null ? null : decodeEnvelope(row.admission),
    digest: Buffer.from(row.digest).toString('hex'),
    createdAt,
    expiresAt,
    state,
    deliveredAt,
    settledAt,
    refusal: row.refusalCode === null ? null : { code: row.refusalCode, sentence: row.refusalSentence ?? '' },
  };
}
