import { Injectable } from '@nestjs/common';
import { type KeyRecord, makeAdmission } from '@capstan/identity';
import {
  CommandSchema,
  create,
  type Envelope,
  fromBinary,
  fromHex,
  type Header,
  type KillEpoch,
  KillEpochSchema,
  type LinkMessage,
  LinkMessageSchema,
  WireFault,
} from '@capstan/protocol';
import type { CommandRecord } from '../commands/command-record.js';
import type { Connection } from '../connections/connection.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { RevocationEpoch } from '../connections/revocation-epoch.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { KillEpochs } from '../killswitch/kill-epochs.js';
import type { Scope } from '../killswitch/kill-scope.js';
import { OperatorStore } from './operator.store.js';

/** An admission is made anew for each further offer: it names the epochs of now. */
const FRESH_MS = 1_000;

/** Of a history that is longer than anybody makes, the newest. */
const MOST_STATEMENTS = 64;

/** What lets a receiver follow from a former key of an instance to the one that it signs with now. */
export function keyHistory(connection: Pick<Connection, 'keyStatements'> | undefined): Envelope[] {
  return (connection?.keyStatements ?? []).slice(-MOST_STATEMENTS);
}

/** The hub's own word on what it routes. */
@Injectable()
export class Admissions {
  private readonly madeAt = new WeakMap<Envelope, number>();

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly operators: OperatorStore,
    private readonly revocations: RevocationEpoch,
    private readonly killEpochs: KillEpochs,
  ) {}

  /** Admits a command that was verified and allowed. */
  admit(command: { header: Header; digest: Uint8Array; key: KeyRecord }): Envelope {
    const { header, digest, key } = command;
    const admission = makeAdmission({
      hubId: this.identity.hubId,
      key: this.identity.signerFor(header.audience).key,
      audience: header.audience,
      digest,
      originKey: key,
      tenant: header.tenant,
      // This hub is one of those that it may pass.
      hopLimit: header.hopLimit - 1,
      killEpochs: this.epochsOf(header),
      revocationEpoch: this.revocations.current,
    });
    this.madeAt.set(admission, performance.now());
    return admission;
  }

  /** What goes over the link for a command. @throws WireFault `key-revoked` where its origin may order nothing any longer */
  messageOf(record: CommandRecord): LinkMessage {
    const { envelope, issuer } = record;
    if (issuer === null) return create(LinkMessageSchema, { body: { case: 'envelope', value: envelope } });
    const admission = this.admissionOf(record, this.keyOf(issuer, envelope));
    const value = { envelope, admission, keyStatements: keyHistory(this.connections.find(issuer)) };
    return create(LinkMessageSchema, { body: { case: 'routed', value } });
  }

  /** Those that forbid a start at the target, as this hub knows them: a spawn that is older starts no more. */
  private epochsOf({ audience, tenant }: Header): KillEpoch[] {
    const scopes: Scope[] = [
      { scope: 'mesh', scopeId: '' },
      { scope: 'instance', scopeId: '' },
      { scope: 'tenant', scopeId: tenant },
    ];
    return scopes.map((scope) =>
      create(KillEpochSchema, { ...scope, epoch: this.killEpochs.next(audience, scope) - 1n }),
    );
  }

  private admissionOf(record: CommandRecord, key: KeyRecord): Envelope {
    const { admission } = record;
    const isFresh = admission !== null && performance.now() - (this.madeAt.get(admission) ?? -FRESH_MS) < FRESH_MS;
    if (isFresh) return admission;
    const { header } = fromBinary(CommandSchema, record.envelope.payload);
    if (header === undefined) throw new WireFault('payload-malformed', 'no header');
    return this.admit({ header, digest: fromHex(record.digest), key });
  }

  private keyOf(issuer: string, { signatures }: Envelope): KeyRecord {
    const connection = this.connections.find(issuer);
    const isGone = connection?.state === 'REVOKED' || connection?.state === 'DISCONNECTED';
    // One that was signed before its key was replaced is admitted as long as that is believed.
    const signers = signatures.map(({ keyId }) => connection?.keys.get(keyId));
    const signer = signers.find((key) => key?.purposes.includes('command') === true) ?? connection?.identityKey;
    const key = isGone ? undefined : (signer ?? this.operators.find(issuer)?.key);
    if (key === undefined || key.revokedAt !== undefined) throw new WireFault('key-revoked', issuer);
    return key;
  }
}
