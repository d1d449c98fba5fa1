import { sql } from 'drizzle-orm';
import {
  bigint,
  bigserial,
  boolean,
  customType,
  index,
  integer,
  jsonb,
  pgTable,
  text,
  timestamp,
  uniqueIndex,
} from 'drizzle-orm/pg-core';
import type { AgentView } from '@capstan/protocol';

const bytes = customType<{ data: Uint8Array; driverData: Buffer }>({
  dataType: () => 'bytea',
  toDriver: (value) => Buffer.from(value.buffer, value.byteOffset, value.byteLength),
});
const at = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' });

/** Pinned public keys; kept for ever, so that history can be verified after a key is gone. */
export const keys = pgTable('keys', {
  keyId: text('key_id').primaryKey(),
  /** Instance that signs with it. */
  owner: text('owner').notNull(),
  publicKey: bytes('public_key').notNull(),
  purposes: text('purposes').array().notNull(),
  epoch: integer('epoch').notNull(),
  revokedAt: at('revoked_at'),
});

export const connections = pgTable(
  'connections',
  {
    id: text('id').primaryKey(),
    instanceId: text('instance_id').notNull(),
    displayName: text('display_name').notNull(),
    state: text('state').notNull(),
    identityKeyId: text('identity_key_id')
      .notNull()
      .references(() => keys.keyId),
    reaperKeyId: text('reaper_key_id')
      .notNull()
      .references(() => keys.keyId),
    capabilities: text('capabilities').array().notNull(),
    /** The enrolment statement as it was signed. */
    enrollment: bytes('enrollment').notNull(),
    /** End of the block of session epochs that was handed out; only grows. */
    sessionEpoch: bigint('session_epoch', { mode: 'bigint' })
      .notNull()
      .default(sql`0`),
    createdAt: at('created_at').notNull(),
    changedAt: at('changed_at').notNull(),
    lastSeenAt: at('last_seen_at'),
  },
  (t) => [
    uniqueIndex('connections_live_instance')
      .on(t.instanceId)
      .where(sql`${t.state} IN ('PENDING', 'ACTIVE', 'SUSPENDED')`),
  ],
);

/** Single-use invitations; the secret itself is never stored. */
export const enrollmentTokens = pgTable('enrollment_tokens', {
  id: text('id').primaryKey(),
  secretDigest: bytes('secret_digest').notNull().unique(),
  autoApprove: boolean('auto_approve').notNull(),
  displayName: text('display_name'),
  createdAt: at('created_at').notNull(),
  expiresAt: at('expires_at').notNull(),
  redeemedAt: at('redeemed_at'),
  /** Digest of the statement that used it, and what it became. */
  enrollmentDigest: bytes('enrollment_digest'),
  connectionId: text('connection_id').references(() => connections.id),
});

export const commands = pgTable(
  'commands',
  {
    id: text('id').primaryKey(),
    kind: text('kind').notNull(),
    instance: text('instance').notNull(),
    agentId: text('agent_id').notNull(),
    state: text('state').notNull(),
    envelope: bytes('envelope').notNull(),
    digest: bytes('digest').notNull().unique(),
    refusalCode: text('refusal_code'),
    refusalSentence: text('refusal_sentence'),
    createdAt: at('created_at').notNull(),
    expiresAt: at('expires_at').notNull(),
    deliveredAt: at('delivered_at'),
    settledAt: at('settled_at'),
  },
  (t) => [
    index('commands_unsettled')
      .on(t.createdAt)
      .where(sql`${t.settledAt} IS NULL`),
    // One spawn per agent, for ever: the hub's half of "at most one effect".
    uniqueIndex('commands_spawn_of_agent')
      .on(t.agentId)
      .where(sql`${t.kind} = 'agent.spawn'`),
    index('commands_agent').on(t.agentId),
  ],
);

/** Agents as their instance last reported them. */
export const agents = pgTable(
  'agents',
  {
    agentId: text('agent_id').primaryKey(),
    instance: text('instance').notNull(),
    /** Null until the instance has reported. */
    revision: bigint('revision', { mode: 'number' }),
    snapshot: jsonb('snapshot').$type<AgentView>(),
    asOf: at('as_of'),
  },
  (t) => [index('agents_instance').on(t.instance)],
);

export const receipts = pgTable(
  'receipts',
  {
    sequence: bigserial('sequence', { mode: 'bigint' }).primaryKey(),
    digest: bytes('digest').notNull().unique(),
    commandId: text('command_id')
      .notNull()
      .references(() => commands.id),
    instance: text('instance').notNull(),
    agentId: text('agent_id').notNull(),
    kind: text('kind').notNull(),
    envelope: bytes('envelope').notNull(),
    receivedAt: at('received_at').notNull(),
  },
  (t) => [index('receipts_command').on(t.commandId), index('receipts_agent').on(t.agentId)],
);

/** The hub's hash chain: `hash` is chainHash(previous hash, UTF-8 of `record`). Append-only. */
export const audit = pgTable('audit', {
  sequence: bigint('sequence', { mode: 'bigint' }).primaryKey(),
  kind: text('kind').notNull(),
  subject: text('subject').notNull(),
  record: text('record').notNull(),
  hash: bytes('hash').notNull(),
});

/** Bearer tokens, as SHA-256 digests. */
export const tokens = pgTable('tokens', {
  name: text('name').primaryKey(),
  digest: bytes('digest').notNull().unique(),
  createdAt: at('created_at').notNull(),
});
