import { type HeaderInit, envelopeDigest, keyRecord, makeHeader, signPayload, SigningKey } from '@capstan/identity';
import {
  agentOf,
  CommandSchema,
  create,
  decodeStrict,
  Direction,
  encodeEnvelope,
  type Envelope,
  KillOutcome,
  type MessageInitShape,
  newId,
  ObservationSchema,
  ReceiptSchema,
  spawnBody,
  toBinary,
} from '@capstan/protocol';

export type ForeignBody = NonNullable<MessageInitShape<typeof CommandSchema>['body']>;
type ReceiptInit = MessageInitShape<typeof ReceiptSchema>;

/** Somebody else who orders, or answers: an operator, or another instance with its reaper. */
export class Foreigner {
  readonly key = SigningKey.generate();
  readonly reaper = SigningKey.generate();

  constructor(readonly id: string) {}

  /** As a hub, or an owner, pins it. */
  get record() {
    const purposes = this.id.startsWith('op-') ? (['command', 'grant'] as const) : (['command', 'receipt'] as const);
    return keyRecord(this.id, this.key.publicKey, purposes);
  }

  get reaperRecord() {
    return keyRecord(this.id, this.reaper.publicKey, ['observe']);
  }

  /** A command for harbor. */
  command(body: ForeignBody, over: Partial<HeaderInit> = {}, key = this.key): Envelope {
    const direction = this.id.startsWith('op-') ? Direction.OPERATOR_TO_SPOKE : Direction.SPOKE_TO_SPOKE;
    const base = { issuer: this.id, audience: 'harbor', direction, tenant: 'default', hopLimit: 1 };
    const header = makeHeader({ ...base, ...over });
    return signPayload(key, 'command', toBinary(CommandSchema, create(CommandSchema, { header, body })));
  }

  /** A receipt for a command of harbor. */
  receipt(command: Envelope, result: NonNullable<ReceiptInit['result']>, over: ReceiptInit = {}): Envelope {
    const { header, body } = decodeStrict(CommandSchema, command.payload);
    const receipt = create(ReceiptSchema, {
      header: makeHeader({ issuer: this.id, audience: 'hub', direction: Direction.SPOKE_TO_HUB }),
      commandIssuer: header?.issuer ?? '',
      commandId: header?.id ?? '',
      commandDigest: envelopeDigest(command),
      agentId: body.case === undefined ? '' : agentOf(body),
      acceptedAtMs: BigInt(Date.now()),
      result,
      ...over,
    });
    return signPayload(this.key, 'receipt', toBinary(ReceiptSchema, receipt));
  }

  /** What its reaper says of a death that the command has ordered. */
  killed(command: Envelope, agentId: string, reaper = this.reaper): NonNullable<ReceiptInit['result']> {
    const header = makeHeader({ issuer: this.id, audience: this.id, direction: Direction.LOCAL });
    const seen = create(ObservationSchema, {
      header,
      agentId,
      commandDigest: envelopeDigest(command),
      outcome: KillOutcome.KILLED,
      bootId: 'boot',
      pidNamespace: 4026531836n,
    });
    const observation = encodeEnvelope(signPayload(reaper, 'observation', toBinary(ObservationSchema, seen)));
    return { case: 'killed', value: { outcome: KillOutcome.KILLED, observation } };
  }
}

/** A spawn that the test instance's policy allows. */
export function allowedSpawn(agentId = `agent-${newId()}`): ForeignBody {
  return spawnBody({ agentId, agentType: 'worker', context: { repository: '/srv/repo', workItems: ['do it'] } });
}
