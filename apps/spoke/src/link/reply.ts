import type { Link } from '@capstan/link';
import { createLogger } from '@capstan/platform';
import {
  create,
  decodeEnvelope,
  type Envelope,
  fromBase64,
  type LaneName,
  type LinkMessage,
  LinkMessageSchema,
  type WireFault,
} from '@capstan/protocol';

const log = createLogger('spoke.reply');

/** Answers on the link on which an envelope came. Where that is gone, the hub sends the envelope again on the next. */
export class Reply {
  constructor(
    private readonly link: Link,
    private readonly lane: LaneName,
  ) {}

  /** The envelope is on disk. */
  acknowledge(digest: Uint8Array): void {
    this.send(this.urgent('control'), {
      case: 'acknowledgement',
      value: { $typeName: 'capstan.v1.Acknowledgement', digest },
    });
  }

  /** The envelope is refused and had no effect. */
  reject(digest: Uint8Array, { code, sentence, retryable }: WireFault): void {
    const value = { $typeName: 'capstan.v1.Rejection' as const, digest, code, sentence, retryable };
    this.send(this.urgent('control'), { case: 'rejection', value });
  }

  /** A receipt that the hub should have already, or that is not kept. */
  result(envelope: Envelope): void {
    this.send(this.urgent('results'), { case: 'envelope', value: envelope });
  }

  /** The same from the store. */
  stored(receipt: string): void {
    if (receipt !== '') this.result(decodeEnvelope(fromBase64(receipt)));
  }

  /** What answers a kill overtakes like the kill. */
  private urgent(lane: LaneName): LaneName {
    return this.lane === 'kill' ? 'kill' : lane;
  }

  private send(lane: LaneName, body: LinkMessage['body']): void {
    this.link.send(lane, create(LinkMessageSchema, { body })).catch((error: unknown) => {
      log.debug({ err: error, msg: 'not answered: the link is gone' });
    });
  }
}
