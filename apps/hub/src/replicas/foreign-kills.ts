import { Injectable, type OnModuleInit } from '@nestjs/common';
import { verifyEnvelope } from '@capstan/identity';
import { createLogger } from '@capstan/platform';
import {
  agentOf,
  CommandSchema,
  decodeEnvelope,
  decodeStrict,
  Direction,
  type Envelope,
  fromBase64,
  toHex,
  WireFault,
} from '@capstan/protocol';
import { Answers } from '../commands/answers.js';
import { CommandBook } from '../commands/command.book.js';
import { KINDS } from '../commands/command-factory.js';
import { type CommandRecord, isKill } from '../commands/command-record.js';
import { newCommandRow } from '../commands/command-rows.js';
import { envelopeText } from '../commands/envelope-text.js';
import { Outbox } from '../commands/outbox.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { RecordWriter } from '../database/record-writer.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { orderedScope } from '../killswitch/ordered-scope.js';
import { Stopping } from '../killswitch/stopping.js';
import { ReceiptIntake } from '../receipts/receipt.intake.js';
import { verifyForeign } from '../routing/foreign-command.js';
import { OperatorStore } from '../routing/operator.store.js';
import type { MessageOf } from './bus-message.js';
import { ReplicaBus } from './replica-bus.js';

/** Of a kill that the hub routes, as where it was taken: no receiver looks at the expiry that its origin has signed. */
const KILL_LIFETIME_MS = 24 * 60 * 60 * 1000;

/** Kills that another replica has ordered, and their receipts: over the bus at once, whatever the database does. */
@Injectable()
export class ForeignKills implements OnModuleInit {
  private readonly log = createLogger('hub.replicas');

  constructor(
    private readonly bus: ReplicaBus,
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly operators: OperatorStore,
    private readonly book: CommandBook,
    private readonly writer: RecordWriter,
    private readonly outbox: Outbox,
    private readonly stopping: Stopping,
    private readonly answers: Answers,
    private readonly intake: ReceiptIntake,
  ) {}

  onModuleInit(): void {
    this.bus.on('kill', (message) => {
      this.take(message);
    });
    this.bus.on('answer', ({ instance, envelope }) => {
      this.intake.hear(instance, decodeEnvelope(fromBase64(envelope)));
    });
    this.answers.onAny(({ record, receipt, isElsewhere }) => {
      if (isElsewhere === true || receipt === undefined || !isKill(record.kind)) return;
      this.bus.publish({ kind: 'answer', instance: record.instance, envelope: envelopeText(receipt.envelope) });
    });
  }

  /** Kept and sent like one's own; its row is written here too, since the replica that ordered it may be gone. */
  private take(message: MessageOf<'kill'>): void {
    const record = this.verified(message);
    if (this.book.get(record.id) !== undefined) return;
    this.book.keepForeign(record);
    const ordered = orderedScope(record.envelope);
    if (ordered !== undefined)
      this.stopping.begin(record.instance, record.id, { ...ordered.scope, epoch: ordered.epoch });
    this.outbox.offer(record);
    this.writer.writeKill({ command: newCommandRow(record), audit: [] }).committed.catch((err: unknown) => {
      this.log.error({ err, command: record.id, msg: 'a kill of another replica was not written' });
    });
  }

  /** Whoever can write to Valkey can order nothing: it must be signed by this hub, or by somebody whose kills it routes. */
  private verified({ envelope: text, admission }: MessageOf<'kill'>): CommandRecord {
    const envelope = decodeEnvelope(fromBase64(text));
    const { header, body } = decodeStrict(CommandSchema, envelope.payload);
    if (header === undefined || body.case === undefined || !isKill(KINDS[body.case]))
      throw new WireFault('payload-malformed', 'no kill');
    const isOwn = header.issuer === this.identity.hubId;
    const nowMs = Date.now();
    const digest = isOwn ? this.ownDigest(envelope) : this.foreignDigest(envelope, header.issuer);
    return {
      id: header.id,
      kind: KINDS[body.case],
      instance: header.audience,
      agentId: agentOf(body),
      issuer: isOwn ? null : header.issuer,
      envelope,
      admission: admission === null ? null : decodeEnvelope(fromBase64(admission)),
      digest: toHex(digest),
      createdAt: new Date(isOwn ? Number(header.issuedAtMs) : nowMs),
      // Of what is signed, and of nothing that came with it: a kill that was over at once would be nobody's.
      expiresAt: new Date(isOwn ? Number(header.expiresAtMs) : nowMs + KILL_LIFETIME_MS),
      state: 'PENDING',
      deliveredAt: null,
      settledAt: null,
      refusal: null,
    };
  }

  private ownDigest(envelope: Envelope): Uint8Array {
    return verifyEnvelope(envelope, { kind: 'command', purpose: 'command', keys: this.identity.ring }).digest;
  }

  private foreignDigest(envelope: Envelope, issuer: string): Uint8Array {
    const peer = this.connections.find(issuer);
    if (peer !== undefined) return verifyForeign(envelope, peer.keys, Direction.SPOKE_TO_SPOKE).digest;
    return verifyForeign(envelope, this.operators.keys, Direction.OPERATOR_TO_SPOKE).digest;
  }
}
