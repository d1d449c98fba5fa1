import { createHmac, timingSafeEqual } from 'node:crypto';
import { newId } from '@capstan/protocol';
import { RecentMap } from '../commands/recent-map.js';
import type { HubIdentity } from '../identity/hub-identity.js';
import { type BusMessage, isBusMessage } from './bus-message.js';

const LABEL = 'capstan replica bus v1';
/** HMAC-SHA-256 in base64url. */
const MAC_CHARS = 43;
/** All the links of a replica many times over; more is not even hashed. */
const MOST_CHARS = 32 * 1024 * 1024;
/** How far the clocks of two replicas may be apart that have not heard each other yet. */
const SKEW_MS = 30_000;
/** Whoever says nothing for so long is heard no more. */
const GONE_MS = 10_000;
/** Senders whose last number is remembered: more than ever lived while this process did. */
const MOST_SENDERS = 10_000;

/** Why a text of the bus is not taken. */
export type BusRefusal = 'authenticator' | 'unknown' | 'repeated' | 'old';

export type Opened =
  | { is: 'message'; from: string; message: BusMessage }
  /** What this replica has sent itself: the bus is there. */
  | { is: 'own' }
  | { is: 'refused'; why: BusRefusal };

/** What is under the authenticator. */
interface Sealed {
  from: string;
  /** Counts the messages of the sender. */
  number: number;
  atMs: number;
  /** Replicas that the sender has heard. */
  heard: readonly string[];
  message: BusMessage;
}

/**
 * The authenticator of what replicas tell each other: whoever can write to Valkey can say nothing there. Its key is derived
 * from the hub's own, which replicas share. Each message counts once: its sender's numbers only grow, and it is of now, by
 * the clock or, where clocks differ, because its sender has heard this process, whose id is as random as a nonce.
 */
export class BusSeal {
  /** Of this process; another one after each start. */
  readonly replicaId = newId();
  private readonly secrets = new Map<string, Buffer>();
  private readonly numbers = new RecentMap<string, number>(MOST_SENDERS);
  private readonly heardAtMs = new Map<string, number>();
  private number = 0;

  constructor(private readonly identity: Pick<HubIdentity, 'believedKeys' | 'hubId'>) {}

  seal(message: BusMessage): string {
    this.number += 1;
    const { replicaId: from, number } = this;
    const sealed: Sealed = { from, number, atMs: Date.now(), heard: this.heard(), message };
    const text = JSON.stringify(sealed);
    const [secret = Buffer.alloc(0)] = this.keys();
    return `${macOf(secret, text).toString('base64url')}${text}`;
  }

  open(text: string): Opened {
    const sealed = this.authentic(text);
    if (sealed === undefined) return { is: 'refused', why: 'authenticator' };
    const { from, number, atMs, heard, message } = sealed;
    if (number <= (this.numbers.get(from) ?? 0)) return { is: 'refused', why: 'repeated' };
    this.numbers.set(from, number);
    if (from === this.replicaId) return { is: 'own' };
    this.heardAtMs.set(from, performance.now());
    const isOfNow = Math.abs(Date.now() - atMs) <= SKEW_MS || heard.includes(this.replicaId);
    if (!isOfNow) return { is: 'refused', why: 'old' };
    return isBusMessage(message) ? { is: 'message', from, message } : { is: 'refused', why: 'unknown' };
  }

  /** Nothing is parsed before its authenticator was found right. */
  private authentic(text: string): Sealed | undefined {
    if (text.length <= MAC_CHARS || text.length > MOST_CHARS) return undefined;
    const mac = Buffer.from(text.slice(0, MAC_CHARS), 'base64url');
    const body = text.slice(MAC_CHARS);
    const isOurs = this.keys().some((key) => mac.length === 32 && timingSafeEqual(macOf(key, body), mac));
    return isOurs ? (JSON.parse(body) as Sealed) : undefined;
  }

  private keys(): Buffer[] {
    return this.identity.believedKeys.map((key) => {
      const known = this.secrets.get(key.keyId) ?? key.derive(`${LABEL} ${this.identity.hubId}`);
      this.secrets.set(key.keyId, known);
      return known;
    });
  }

  private heard(): string[] {
    const since = performance.now() - GONE_MS;
    for (const [id, atMs] of this.heardAtMs) if (atMs < since) this.heardAtMs.delete(id);
    return [...this.heardAtMs.keys()];
  }
}

function macOf(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
