import { createHash } from 'node:crypto';
import {
  envelopeDigest,
  handshakePae,
  keyRecord,
  KeyRing,
  makeHeader,
  signPayload,
  SigningKey,
} from '@capstan/identity';
import { type Link, SpokeDialer } from '@capstan/link';
import type { MeshHub } from '@capstan/localmesh';
import {
  AgentState,
  type Command,
  CommandSchema,
  create,
  decodeStrict,
  Direction,
  encodeEnvelope,
  EnrollmentSchema,
  type Envelope,
  fromHex,
  LinkMessageSchema,
  type MessageInitShape,
  payloadKind,
  ReceiptSchema,
  toBase64,
  toBinary,
  toHex,
} from '@capstan/protocol';

interface Invite {
  hubId: string;
  hubKey: string;
  secret: string;
}

type Body = NonNullable<MessageInitShape<typeof LinkMessageSchema>['body']>;

/**
 * An instance of which only the link and the ledger are there, to have many: real keys, enrolment and link; it takes each
 * spawn once, however often it comes, and offers its receipt until a hub has acknowledged it, as a spoke does.
 */
export class LedgerSpoke implements AsyncDisposable {
  /** Agents by the id of the command that ordered them: each a spawn that was taken. */
  readonly effects = new Map<string, string>();
  /** Digests of commands that came with the id of another. */
  readonly doubled: string[] = [];
  readonly linked = Promise.withResolvers<void>();
  private readonly key = SigningKey.generate();
  private readonly reaper = SigningKey.generate();
  private readonly receipts = new Map<string, { command: string; envelope: Envelope }>();
  private readonly outbox = new Map<string, Envelope>();
  private link: Link | undefined;
  private dialer: SpokeDialer | undefined;

  private constructor(readonly instanceId: string) {}

  /** Enrols at the first of the hubs and dials all of them in turn. @param first index of the hub that it dials first */
  static async join(instanceId: string, hubs: readonly MeshHub[], first: number): Promise<LedgerSpoke> {
    const spoke = new LedgerSpoke(instanceId);
    const [admitting] = hubs;
    if (admitting === undefined) throw new Error('there is no hub');
    const { invite } = await admitting.client.invite({ autoApprove: true });
    const terms = JSON.parse(Buffer.from(invite.slice(invite.indexOf('.') + 1), 'base64url').toString()) as Invite;
    const enrollment = toBase64(encodeEnvelope(spoke.enrollment(terms)));
    const response = await fetch(new URL('/api/v1/federation/enrollments/redeem', admitting.url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: terms.secret, enrollment }),
    });
    if (!response.ok) throw new Error(`enrolment answered ${String(response.status)}`);
    const urls = hubs.map((_, at) => hubs[(first + at) % hubs.length] ?? admitting).map(linkUrl);
    spoke.dial(terms, urls);
    await spoke.linked.promise;
    return spoke;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dialer?.close();
  }

  private dial({ hubId, hubKey }: Invite, [url = '', ...moreUrls]: readonly string[]): void {
    let epoch = 0n;
    this.dialer = new SpokeDialer({
      url,
      moreUrls,
      instanceId: this.instanceId,
      key: this.key,
      hub: { id: hubId, keys: new KeyRing([keyRecord(hubId, fromHex(hubKey), ['link', 'command'])]) },
      sessionEpoch: {
        load: () => Promise.resolve(epoch),
        save: (seen) => {
          epoch = seen;
          return Promise.resolve();
        },
      },
      onLink: (link) => {
        this.open(link);
      },
      backoff: { minMs: 50, maxMs: 1_000 },
    });
    this.dialer.start();
  }

  private open(link: Link): void {
    this.link = link;
    link.onMessage = (_lane, { body }) => {
      if (body.case === 'acknowledgement') this.outbox.delete(toHex(body.value.digest));
      if (body.case === 'envelope' && payloadKind(body.value.payloadType) === 'command') this.take(body.value);
    };
    link.start();
    this.linked.resolve();
    for (const envelope of this.outbox.values()) this.offer(envelope);
  }

  private take(envelope: Envelope): void {
    const { header, body } = decodeStrict(CommandSchema, envelope.payload);
    if (header === undefined || body.case !== 'spawn') return;
    const command = toHex(envelopeDigest(envelope));
    const known = this.receipts.get(header.id);
    if (known !== undefined && known.command !== command) this.doubled.push(command);
    const receipt = known?.envelope ?? this.receipt(envelope, { header, body });
    this.receipts.set(header.id, { command, envelope: receipt });
    this.effects.set(header.id, body.value.agentId);
    this.outbox.set(toHex(envelopeDigest(receipt)), receipt);
    this.offer(receipt);
  }

  private offer(envelope: Envelope): void {
    this.send({ case: 'envelope', value: envelope });
  }

  /** What is lost with the link is offered on the next one. */
  private send(body: Body): void {
    this.link?.send('results', create(LinkMessageSchema, { body })).catch(() => undefined);
  }

  private receipt(envelope: Envelope, { header, body }: Pick<Command, 'header' | 'body'>): Envelope {
    const agentId = body.case === 'spawn' ? body.value.agentId : '';
    const state = { agentId, taskId: 'task-1', state: AgentState.QUEUED, runtime: 'claude', revision: 1n };
    const receipt = create(ReceiptSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: 'hub', direction: Direction.SPOKE_TO_HUB }),
      commandIssuer: header?.issuer ?? '',
      commandId: header?.id ?? '',
      commandDigest: envelopeDigest(envelope),
      agentId,
      acceptedAtMs: BigInt(Date.now()),
      result: { case: 'spawned', value: { ...state, queuedAtMs: BigInt(Date.now()) } },
    });
    return signPayload(this.key, 'receipt', toBinary(ReceiptSchema, receipt));
  }

  private enrollment({ hubId, secret }: Invite): Envelope {
    const id = new TextEncoder().encode(this.instanceId);
    const enrollment = create(EnrollmentSchema, {
      header: makeHeader({ issuer: this.instanceId, audience: hubId, direction: Direction.SPOKE_TO_HUB }),
      instanceId: this.instanceId,
      displayName: this.instanceId,
      identityKey: this.key.publicKey,
      reaperKey: this.reaper.publicKey,
      tokenDigest: createHash('sha256').update(Buffer.from(secret, 'base64url')).digest(),
      capabilities: ['claude'],
      versions: [1],
      reaperSignature: this.reaper.sign(handshakePae('capstan.v1.reaper-endorse', id, this.key.publicKey)),
    });
    return signPayload(this.key, 'enrollment', toBinary(EnrollmentSchema, enrollment));
  }
}

function linkUrl({ url }: MeshHub): string {
  return `${url.replace('http', 'ws')}/federation/link`;
}
