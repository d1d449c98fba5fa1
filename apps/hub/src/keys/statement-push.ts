import { Injectable, type OnModuleInit } from '@nestjs/common';
import { envelopeDigest } from '@capstan/identity';
import type { Link } from '@capstan/link';
import { createLogger, metrics } from '@capstan/platform';
import {
  type Acknowledgement,
  create,
  type Envelope,
  faultSentence,
  LinkMessageSchema,
  type Rejection,
  toHex,
} from '@capstan/protocol';
import { LinkRegistry } from '../connections/link.registry.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { HubKeys } from './hub-keys.js';

const REPEAT_MS = 5_000;

/** What one instance has still to hear, in its order. */
interface Pending {
  link: Link;
  statements: Envelope[];
  then: () => void;
}

/** Tells instances of the hub's new keys, before anything that is signed with them. */
@Injectable()
export class StatementPush implements OnModuleInit {
  private readonly log = createLogger('hub.keys');
  private readonly pending = new Map<string, Pending>();

  constructor(
    private readonly identity: HubIdentity,
    private readonly keys: HubKeys,
    private readonly links: LinkRegistry,
  ) {}

  onModuleInit(): void {
    this.keys.onReplaced((statement, oldKeyId) => {
      for (const link of this.links.all()) this.replaced(link, statement, oldKeyId);
    });
  }

  /** Calls `then` once the instance at the other end knows the hub's newest key: at once where it does already. */
  bringUpToDate(link: Link, then: () => void): void {
    const known = link.ownKeyId ?? this.identity.key.keyId;
    const statements = this.keys.after(known);
    this.pending.delete(link.peerId);
    this.identity.caughtUp(link.peerId);
    if (statements.length === 0) then();
    else this.begin(link, statements, known, then);
  }

  /** Whether that was the answer to a statement. */
  acknowledged(instance: string, { digest }: Acknowledgement): boolean {
    const pending = this.pending.get(instance);
    if (pending === undefined || !isNext(pending, digest)) return false;
    pending.statements.shift();
    if (pending.statements.length > 0) void this.send(pending);
    else {
      this.pending.delete(instance);
      this.identity.caughtUp(instance);
      pending.then();
    }
    return true;
  }

  /** Whether that was the answer to a statement: an instance that will never believe the new key cannot stay. */
  rejected(instance: string, { digest, code, retryable }: Rejection): boolean {
    const pending = this.pending.get(instance);
    if (pending === undefined || !isNext(pending, digest)) return false;
    metrics.countRefusal('key-statement');
    this.log.error({ instance, code: code.slice(0, 63), msg: 'an instance does not believe the new key of this hub' });
    if (!retryable) void pending.link.close('key-statement', faultSentence('key-statement'));
    return true;
  }

  private replaced(link: Link, statement: Envelope, oldKeyId: string): void {
    const pending = this.pending.get(link.peerId);
    if (pending?.link === link) pending.statements.push(statement);
    else this.begin(link, [statement], oldKeyId, () => undefined);
  }

  private begin(link: Link, statements: Envelope[], known: string, then: () => void): void {
    const pending = { link, statements, then };
    this.pending.set(link.peerId, pending);
    this.identity.lags(link.peerId, known);
    const timer = setInterval(() => {
      if (this.pending.get(link.peerId) === pending) void this.send(pending);
      else clearInterval(timer);
    }, REPEAT_MS);
    void link.closed.then(() => {
      clearInterval(timer);
      if (this.pending.get(link.peerId) !== pending) return;
      this.pending.delete(link.peerId);
      this.identity.caughtUp(link.peerId);
    });
    void this.send(pending);
  }

  /** One at a time: each is verified with the key that the one before has brought. */
  private async send({ link, statements: [next] }: Pending): Promise<void> {
    if (next === undefined) return;
    try {
      await link.send('control', create(LinkMessageSchema, { body: { case: 'envelope', value: next } }));
    } catch {
      // The link ended; the next one begins anew.
    }
  }
}

function isNext({ statements: [next] }: Pending, digest: Uint8Array): boolean {
  return next !== undefined && toHex(envelopeDigest(next)) === toHex(digest);
}
