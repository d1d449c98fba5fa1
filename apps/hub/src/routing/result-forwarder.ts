import { Injectable, type OnModuleInit } from '@nestjs/common';
import { envelopeDigest, type KeyRecord, makeAdmission } from '@capstan/identity';
import { create, type Envelope, FAULTS, fromHex, isFaultCode, LinkMessageSchema } from '@capstan/protocol';
import { Answers } from '../commands/answers.js';
import { type CommandRecord, isKill, type Refusal } from '../commands/command-record.js';
import type { Connection } from '../connections/connection.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { LinkRegistry } from '../connections/link.registry.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { ReceiptStore } from '../receipts/receipt.store.js';
import { keyHistory } from './admissions.js';

/**
 * Sends the answers to an instance's commands back to it: receipts unchanged, with the hub's admission, which vouches for
 * the keys of whoever signed them. What gets lost the origin gets again by repeating its command.
 */
@Injectable()
export class ResultForwarder implements OnModuleInit {
  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly links: LinkRegistry,
    private readonly receipts: ReceiptStore,
    private readonly answers: Answers,
  ) {}

  onModuleInit(): void {
    this.answers.onAny(({ record, receipt }) => {
      if (receipt !== undefined) this.forward(record, receipt.envelope);
      else if (record.refusal !== null) this.refused(record, record.refusal);
    });
  }

  /** For an origin that has sent its command once more: everything that was answered so far. */
  async repeat(record: CommandRecord): Promise<void> {
    const stored = await this.receipts.envelopesOf(record.id);
    for (const envelope of stored) this.forward(record, envelope);
    if (stored.length === 0 && record.refusal !== null) this.refused(record, record.refusal);
  }

  private forward(record: CommandRecord, receipt: Envelope): void {
    const { issuer, instance } = record;
    const target = this.connections.find(instance);
    if (issuer === null || target === undefined || this.links.of(issuer) === undefined) return;
    const admission = makeAdmission({
      hubId: this.identity.hubId,
      key: this.identity.signerFor(issuer).key,
      audience: issuer,
      digest: envelopeDigest(receipt),
      originKey: signerOf(receipt, target),
      observerKey: target.reaperKey,
      tenant: '',
      hopLimit: 0,
    });
    const value = { envelope: receipt, admission, keyStatements: keyHistory(target) };
    const message = create(LinkMessageSchema, { body: { case: 'routed', value } });
    void this.links.send(issuer, isKill(record.kind) ? 'kill' : 'results', message);
  }

  /** The hub's own word, not signed: no instance has said anything. A timeout is no refusal: the target may have it all the same. */
  private refused({ issuer, digest, kind, state }: CommandRecord, refusal: Refusal): void {
    if (issuer === null) return;
    const known = isFaultCode(refusal.code) ? refusal.code : 'internal';
    const code = state === 'TIMEOUT' ? 'instance-away' : known;
    const value = { digest: fromHex(digest), code, sentence: FAULTS[code].sentence, retryable: false };
    const message = create(LinkMessageSchema, { body: { case: 'rejection', value } });
    void this.links.send(issuer, isKill(kind) ? 'kill' : 'control', message);
  }
}

/** The key that signed it, which may be one that was replaced since. */
function signerOf({ signatures }: Envelope, { keys, identityKey }: Connection): KeyRecord {
  const signers = signatures.map(({ keyId }) => keys.get(keyId));
  return signers.find((key) => key?.purposes.includes('receipt') === true) ?? identityKey;
}
