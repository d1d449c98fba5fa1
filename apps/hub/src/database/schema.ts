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
  primaryKey,
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
    /** Sides that suspend it, 'admin' and 'owner'; empty unless it is SUSPENDED. */
    suspendedBy: text('suspended_by')
      .array()
      .notNull()
      .default(sql`'{}'::text[]`),
    /** When the owner signed his last wish that was taken, by his clock; an older one is a repetition. */
    wishedAt: at('wished_at'),
    identityKeyId: text('identity_key_id')
      .notNull()
      .references(() => keys.keyId),
    reaperKeyId: text('reaper_key_id')
      .notNull()
      .references(() => keys.keyId),
    capabilities: text('capabilities').array().notNull(),
    /** Raw X25519, to which secrets for the instance are sealed; null where it has published none. */
    sealingKey: bytes('sealing_key'),
    /** Raw Ed25519 of the owner's offline root key; null where there is none. */
    rootKey: bytes('root_key'),
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
    /** Operator or instance whose signature it bears; null where this hub issued it. */
    issuer: text('issuer'),
    envelope: bytes('envelope').notNull(),
    /** The hub's admission of another's command; null for its own. */
    admission: bytes('admission'),
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
  /** Names of the tokens that it stems from, its maker first, the one of the hub's file last; empty for that one. */
  madeBy: text('made_by')
    .array()
    .notNull()
    .default(sql`'{}'::text[]`),
  /** It opens nothing from then on. Its name is given to nobody else: the record has it. */
  removedAt: at('removed_at'),
});

/** Kill epochs as this hub has ordered them, per instance: each reaper counts its own, and refuses a jump. */
export const killEpochs = pgTable(
  'kill_epochs',
  {
    instance: text('instance').notNull(),
    /** 'mesh', 'instance' or 'tenant'. */
    scope: text('scope').notNull(),
    /** The tenant; empty for the others. */
    scopeId: text('scope_id').notNull(),
    epoch: bigint('epoch', { mode: 'bigint' }).notNull(),
    armed: boolean('armed').notNull(),
    orderedBy: text('ordered_by').notNull(),
    /** The enrolment under which the instance was told; empty while it was not, and for the order itself. */
    connection: text('connection').notNull(),
    /** Of a re-armed scope, a millisecond after the disarming that was answered. */
    changedAt: at('changed_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.instance, t.scope, t.scopeId] })],
);

/** Numbers that only grow: 'revocation' counts the revocations of keys and connections. */
export const epochs = pgTable('epochs', {
  name: text('name').primaryKey(),
  value: bigint('value', { mode: 'bigint' }).notNull(),
});

/** Statements by which keys were replaced, as they were signed; history stays verifiable with them. */
export const keyStatements = pgTable('key_statements', {
  digest: bytes('digest').primaryKey(),
  owner: text('owner').notNull(),
  newKeyId: text('new_key_id').notNull(),
  oldKeyId: text('old_key_id').notNull(),
  envelope: bytes('envelope').notNull(),
  receivedAt: at('received_at').notNull(),
});

/** People who sign their own commands. */
export const operators = pgTable('operators', {
  id: text('id').primaryKey(),
  displayName: text('display_name').notNull(),
  keyId: text('key_id')
    .notNull()
    .references(() => keys.keyId),
  createdAt: at('created_at').notNull(),
});

/** Heads of the instances' audit logs, as they signed them; one log never has two roots of one size. */
export const treeHeads = pgTable(
  'tree_heads',
  {
    logId: text('log_id').notNull(),
    size: bigint('size', { mode: 'bigint' }).notNull(),
    root: bytes('root').notNull(),
    envelope: bytes('envelope').notNull(),
    receivedAt: at('received_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.logId, t.size] })],
);

/** The last proof, or the last failure, of each instance's kill path. */
export const probes = pgTable('probes', {
  instance: text('instance').primaryKey(),
  askedAt: at('asked_at').notNull(),
  /** Null where the last probe has failed. */
  answeredAt: at('answered_at'),
  code: text('code'),
  /** When the kill path was last proven. */
  provenAt: at('proven_at'),
  /** Milliseconds from question to verified answer, of the last proof. */
  latencyMs: integer('latency_ms'),
  /** The receipt of the last proof. */
  receipt: bytes('receipt'),
});
