import { Injectable } from '@nestjs/common';
import { eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { keyRecord, makeHeader } from '@capstan/identity';
import {
  create,
  decodeEnvelope,
  Direction,
  encodeEnvelope,
  EnrolledSchema,
  type Envelope,
  fromBase64,
  newId,
  toBinary,
  toHex,
  WireFault,
  bytesEqual,
} from '@capstan/protocol';
import { type Connection, makeConnection } from '../connections/connection.js';
import { isLive } from '../connections/connection-state.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { hurtConstraint } from '../database/database-faults.js';
import { DatabaseService } from '../database/database.service.js';
import { RecordWriter } from '../database/record-writer.js';
import { enrollmentTokens } from '../database/schema.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { type ProvenEnrollment, proveEnrollment } from './enrollment-check.js';
import { insertConnection } from './enrollment-rows.js';
import { type CreateEnrollmentDto, MOST_TTL_SECONDS } from './enrollment.dto.js';
import { encodeInvite, type Invite, newSecret, secretDigest } from './invite.js';
import { HubTls } from '../tls/hub-tls.js';
import { PublicUrl } from './public-url.js';

type Token = typeof enrollmentTokens.$inferSelect;

/** How instances come in: single-use invitations, and their redemption by whoever proves possession of its keys. */
@Injectable()
export class EnrollmentService {
  constructor(
    private readonly identity: HubIdentity,
    private readonly database: DatabaseService,
    private readonly writer: RecordWriter,
    private readonly connections: ConnectionStore,
    private readonly publicUrl: PublicUrl,
    private readonly tls: HubTls,
  ) {}

  /** An invitation; its secret is in the answer and nowhere else. */
  async invite(o: CreateEnrollmentDto, by: string): Promise<{ id: string; invite: string; expiresAt: string }> {
    const id = newId();
    const secret = newSecret();
    const createdAt = new Date();
    const expiresAt = new Date(createdAt.getTime() + (o.ttlSeconds ?? MOST_TTL_SECONDS) * 1000);
    const autoApprove = o.autoApprove ?? false;
    await this.writer.transaction(async (client) => {
      const row = {
        id,
        secretDigest: secretDigest(secret),
        autoApprove,
        displayName: o.displayName ?? null,
        createdAt,
        expiresAt,
      };
      await drizzle(client).insert(enrollmentTokens).values(row);
      const detail = { autoApprove, expiresAt: expiresAt.toISOString(), by };
      return {
        result: undefined,
        audit: [{ kind: 'enrollment.invited', subject: id, atMs: createdAt.getTime(), detail }],
      };
    });
    const { hubId, key, epoch } = this.identity;
    const hubKey = toHex(key.publicKey);
    const hubKeyEpoch = epoch === 1 ? {} : { hubKeyEpoch: epoch };
    const url = this.publicUrl.get();
    return {
      id,
      invite: encodeInvite({
        url,
        hubId,
        hubKey,
        ...hubKeyEpoch,
        secret,
        expiresAt: expiresAt.toISOString(),
        ...this.tlsOf(url),
      }),
      expiresAt: expiresAt.toISOString(),
    };
  }

  private tlsOf(url: string): Pick<Invite, 'tlsPin' | 'tlsEnds'> {
    if (!url.startsWith('https:')) return {};
    const { invitePin, ends } = this.tls;
    return { ...(invitePin === undefined ? {} : { tlsPin: invitePin }), tlsEnds: ends };
  }

  /**
   * Redeems an invitation. The same statement may be sent again while its invitation lives, since the answer to the
   * first may have been lost; it gets the same connection.
   *
   * @throws WireFault `enrollment-token`, `enrollment-expired`, `enrollment-mismatch`, `key-weak`, …
   */
  async redeem(secret: string, statement: string): Promise<Envelope> {
    const nowMs = Date.now();
    const token = await this.findToken(secret);
    if (token.expiresAt.getTime() <= nowMs) throw new WireFault('enrollment-expired', token.id);
    const envelope = decodeEnvelope(fromBase64(statement));
    const proven = proveEnrollment(envelope, this.identity.hubId, token.secretDigest, nowMs);
    const earlier = this.earlier(token, proven);
    return this.enrolled(earlier ?? (await this.connect(token, proven, envelope)), proven.digest);
  }

  /** What an invitation that is spent has become, if it was spent by this very statement. */
  private earlier(token: Token, proven: ProvenEnrollment): Connection | undefined {
    if (token.redeemedAt === null) return undefined;
    const isSame = token.enrollmentDigest !== null && bytesEqual(token.enrollmentDigest, proven.digest);
    const connection = isSame ? this.connections.get(token.connectionId ?? '') : undefined;
    if (connection === undefined) throw new WireFault('enrollment-token', 'spent');
    return connection;
  }

  private async findToken(secret: string): Promise<Token> {
    const digest = secretDigest(secret);
    const [token] = await this.database.db
      .select()
      .from(enrollmentTokens)
      .where(eq(enrollmentTokens.secretDigest, digest));
    if (token === undefined) throw new WireFault('enrollment-token', 'unknown');
    return token;
  }

  private async connect(token: Token, proven: ProvenEnrollment, envelope: Envelope): Promise<Connection> {
    const wanted = this.newConnection(token, proven);
    this.checkNames(wanted);
    const made = { connection: wanted, statement: encodeEnvelope(envelope), statementDigest: proven.digest };
    const { id, instanceId, state, identityKey, reaperKey } = wanted;
    let connection: Connection;
    try {
      connection = await this.writer.transaction(async (client) => {
        const kept = await insertConnection(client, token.id, made);
        const detail = {
          instance: instanceId,
          state,
          identityKey: identityKey.keyId,
          reaperKey: reaperKey.keyId,
          token: token.id,
        };
        return { result: kept, audit: [{ kind: 'connection.enrolled', subject: id, atMs: Date.now(), detail }] };
      });
    } catch (error) {
      if (hurtConstraint(error) !== 'connections_live_instance') throw error;
      throw new WireFault('enrollment-mismatch', `${instanceId} is enrolled already`, { cause: error });
    }
    this.connections.keep(connection);
    return connection;
  }

  private newConnection(token: Token, proven: ProvenEnrollment): Connection {
    const now = new Date();
    const { instanceId, capabilities } = proven;
    return makeConnection({
      id: newId(),
      instanceId,
      displayName: token.displayName ?? proven.displayName,
      state: token.autoApprove ? 'ACTIVE' : 'PENDING',
      suspendedBy: [],
      wishedAt: proven.signedAt,
      identityKey: keyRecord(instanceId, proven.identityKey, ['link', 'receipt', 'command']),
      reaperKey: keyRecord(instanceId, proven.reaperKey, ['observe']),
      sealingKey: proven.sealingKey,
      formerKeys: [],
      keyStatements: [],
      rootKey: proven.rootKey,
      capabilities,
      createdAt: now,
      changedAt: now,
      lastSeenAt: null,
    });
  }

  /** An instance's name and keys are its own: not the hub's, not another's, and none that was revoked. */
  private checkNames({ instanceId, identityKey, reaperKey }: Connection): void {
    const { hubId, ring } = this.identity;
    if (instanceId === hubId) throw new WireFault('enrollment-mismatch', 'the name of the hub');
    if (instanceId.startsWith('op-')) throw new WireFault('enrollment-mismatch', 'the name of an operator');
    if ([identityKey, reaperKey].some(({ keyId }) => ring.get(keyId) !== undefined))
      throw new WireFault('enrollment-mismatch', 'the key of the hub');
    const known = this.connections.find(instanceId);
    if (known !== undefined && (isLive(known.state) || known.state === 'REVOKED')) {
      throw new WireFault('enrollment-mismatch', `${instanceId} is ${known.state}`);
    }
  }

  private enrolled(connection: Connection, enrollmentDigest: Uint8Array): Envelope {
    const { hubId } = this.identity;
    const { id: connectionId, instanceId, state } = connection;
    const header = makeHeader({ issuer: hubId, audience: instanceId, direction: Direction.HUB_TO_SPOKE });
    const payload = create(EnrolledSchema, { header, instanceId, connectionId, enrollmentDigest, state });
    return this.identity.signForNewcomer('enrolled', toBinary(EnrolledSchema, payload));
  }
}
